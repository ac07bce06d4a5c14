#!/usr/bin/env bash
# currency.js 2.0.4 (npm; needs Node.js)
# Guess:   rounding is symmetric, so that an amount and its opposite always cancel.
# Instead: ties go toward positive infinity: 5.005 becomes 5.01 and -5.005 becomes -5.00. A payment and
#          its refund, computed from the same figure, differ by a cent.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
npm install --silent --no-audit --no-fund --no-package-lock currency.js@2.0.4 >/dev/null
cat >seen.cjs <<'JS'
const currency = require('currency.js')
console.log(JSON.stringify(['5.005', '-5.005', '1.015', '-1.015'].map((text) => currency(text).intValue)))
JS
seen=$(node seen.cjs)
expected='[501,-500,102,-101]'
echo "currency.js 2.0.4: 5.005, -5.005, 1.015, -1.015 are, in cents, $seen"
[ "$seen" = "$expected" ] || { echo "changed: expected $expected" >&2; exit 1; }

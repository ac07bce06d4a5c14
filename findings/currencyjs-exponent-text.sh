#!/usr/bin/env bash
# currency.js 2.0.4 (npm; needs Node.js)
# Guess:   a text that it cannot read as an amount is NaN or an error; a text that JavaScript itself writes for
#          a large number ("1e21") is read as that number.
# Instead: the "e" is dropped and the digits are joined: "1e3" is 13, "1e21" is 121. No error, even with
#          errorOnInvalid. The number 1e3 is read right; only its text is not, so it depends on whether an
#          amount came as a JSON number or as a string.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
npm install --silent --no-audit --no-fund --no-package-lock currency.js@2.0.4 >/dev/null
cat >seen.cjs <<'JS'
const currency = require('currency.js')
const strict = { errorOnInvalid: true }
console.log(JSON.stringify([currency('1e3', strict).value, currency('1e21', strict).value, currency(1e3, strict).value]))
JS
seen=$(node seen.cjs)
expected='[13,121,1000]'
echo "currency.js 2.0.4: '1e3', '1e21' and the number 1e3 are read as $seen"
[ "$seen" = "$expected" ] || { echo "changed: expected $expected" >&2; exit 1; }

#!/usr/bin/env bash
# py-moneyed 3.0 (PyPI; needs Python 3 with venv), compared with the ISO 4217 table of iso4217 1.16.20260101
# Guess:   the newest release knows the currencies in force, and only those.
# Instead: it lacks ZWG (Zimbabwe, since 2024) and XCG (Curaçao and Sint Maarten, since 2025), and still
#          gives HRK (withdrawn 2023), SLL (2024), ZWL (2024) and BGN (withdrawn 2026) without a mark.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check py-moneyed==3.0 iso4217==1.16.20260101
cat >seen.py <<'PY'
import moneyed, iso4217
def has(look_up, code):
    try:
        look_up(code)
        return "yes"
    except Exception:
        return "no"
for code in ["ZWG", "XCG", "HRK", "SLL", "ZWL", "BGN", "EUR"]:
    print(code, "moneyed", has(moneyed.get_currency, code), "ISO", has(iso4217.Currency, code))
PY
seen=$(venv/bin/python seen.py)
expected='ZWG moneyed no ISO yes
XCG moneyed no ISO yes
HRK moneyed yes ISO no
SLL moneyed yes ISO no
ZWL moneyed yes ISO no
BGN moneyed yes ISO no
EUR moneyed yes ISO yes'
echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; } >&2

#!/usr/bin/env bash
# Babel 2.19.0 (PyPI; needs Python 3 with venv), compared with the ISO 4217 table of iso4217 1.16.20260101
# Guess:   format_currency writes an amount with the decimals that ISO 4217 gives its currency.
# Instead: it follows CLDR, where "digits" means what is customary in shops: 1234.56 HUF and COP come out as
#          1,235, and 1.234 IQD (three decimals in ISO 4217) as 1. A statement made with it hides minor units
#          that the account has.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check babel==2.19.0 iso4217==1.16.20260101
cat >seen.py <<'PY'
from decimal import Decimal
from babel.numbers import format_currency, get_currency_precision
from iso4217 import Currency
for code, amount in [("HUF", "1234.56"), ("COP", "1234.56"), ("IQD", "1.234"), ("LBP", "0.75"), ("MGA", "0.20")]:
    shown = format_currency(Decimal(amount), code, format="#,##0.00 ¤¤", locale="en_US").replace("\xa0", " ")
    print(code, "ISO", Currency(code).exponent, "Babel", get_currency_precision(code), amount, "->", shown)
PY
seen=$(venv/bin/python seen.py)
expected='HUF ISO 2 Babel 0 1234.56 -> 1,235 HUF
COP ISO 2 Babel 0 1234.56 -> 1,235 COP
IQD ISO 3 Babel 0 1.234 -> 1 IQD
LBP ISO 2 Babel 0 0.75 -> 1 LBP
MGA ISO 2 Babel 0 0.20 -> 0 MGA'
echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; } >&2

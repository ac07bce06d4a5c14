#!/usr/bin/env bash
# segno 1.6.6 (PyPI; needs Python 3 with venv)
# Guess:   make_epc_qr, which makes the QR code of a SEPA credit transfer, refuses an amount with more than two
#          decimals, or at least rounds it in one way.
# Instead: it rounds half to even without an error, and from the binary value where it is given a float: 1.005
#          asks for EUR1, 12.345 for EUR12.34, and 2.675 for EUR2.68 as a Decimal but EUR2.67 as a float. The payer is
#          asked for another amount than the invoice says.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check segno==1.6.6
cat >seen.py <<'PY'
from decimal import Decimal
from segno import helpers
def asked_for(amount):
    data = helpers._make_epc_qr_data(name="A", iban="DE89370400440532013000", amount=amount, text="invoice")
    return data.decode().split("\n")[7]
for amount in ["1.005", "12.345", Decimal("2.675"), 2.675]:
    print(repr(amount), asked_for(amount))
PY
seen=$(venv/bin/python seen.py)
expected="'1.005' EUR1
'12.345' EUR12.34
Decimal('2.675') EUR2.68
2.675 EUR2.67"
echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; } >&2

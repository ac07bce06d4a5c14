#!/usr/bin/env bash
# "30/360 ISDA" in QuantLib 1.44 and pyxirr 0.10.8 (PyPI; needs Python 3 with venv)
# Guess:   one name, one convention.
# Instead: QuantLib's Thirty360.ISDA is what ISDA 2006 calls 30E/360 (ISDA): the last day of February counts as the 30th.
#          pyxirr's THIRTY_360_ISDA is the bond basis of the same document, and its THIRTY_E_360_ISDA is QuantLib's ISDA.
#          A contract that says "30/360 ISDA" is worth up to three days of interest more or less by library.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check QuantLib==1.44 pyxirr==0.10.8
cat >seen.py <<'PY'
from datetime import date
import QuantLib as ql, pyxirr
isda = ql.Thirty360(ql.Thirty360.ISDA, ql.Date(1, 1, 2099))
bond = ql.Thirty360(ql.Thirty360.BondBasis)
for start, end in [((2024, 1, 31), (2024, 2, 29)), ((2023, 2, 28), (2023, 3, 31)), ((2024, 2, 28), (2024, 2, 29))]:
    a, b = date(*start), date(*end)
    qa, qb = (ql.Date(day.day, day.month, day.year) for day in (a, b))
    count = lambda convention: round(pyxirr.year_fraction(a, b, convention) * 360)
    print(a, b, isda.dayCount(qa, qb), bond.dayCount(qa, qb),
          count(pyxirr.DayCount.THIRTY_360_ISDA), count(pyxirr.DayCount.THIRTY_E_360_ISDA))
PY
seen=$(venv/bin/python seen.py)
expected='2024-01-31 2024-02-29 30 29 29 30
2023-02-28 2023-03-31 30 33 33 30
2024-02-28 2024-02-29 2 1 1 2'
echo "days by QuantLib ISDA, QuantLib BondBasis, pyxirr THIRTY_360_ISDA, pyxirr THIRTY_E_360_ISDA:"; echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; } >&2

#!/usr/bin/env bash
# NL/365 in QuantLib 1.44, pyxirr 0.10.8, daycounts 0.2.0 (PyPI; needs Python 3 with venv)
# Guess:   actual days less the 29ths of February in between: everybody agrees, and a period is the sum of its parts.
# Instead: three libraries, three conventions at a 29 February. QuantLib leaves out leap days in (start, end],
#          daycounts those in [start, end), and pyxirr those in [start, end], so that a period that is cut there loses a day in
#          pyxirr: 28 + 30 days for what is 59 in one piece. Interest through that day differs by up to a day.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check QuantLib==1.44 pyxirr==0.10.8 daycounts==0.2.0
cat >seen.py <<'PY'
from datetime import date
import QuantLib as ql, daycounts, pyxirr
quantlib = ql.Actual365Fixed(ql.Actual365Fixed.NoLeap)
for start, end in [((2024, 1, 31), (2024, 2, 29)), ((2024, 2, 29), (2024, 3, 31)), ((2024, 2, 29), (2025, 2, 28)), ((2024, 1, 31), (2024, 3, 31))]:
    a, b = date(*start), date(*end)
    days = [
        quantlib.yearFraction(ql.Date(a.day, a.month, a.year), ql.Date(b.day, b.month, b.year)),
        pyxirr.year_fraction(a, b, pyxirr.DayCount.NL_365),
        daycounts.nl_365(a, b),
    ]
    print(a, b, *(round(float(each) * 365) for each in days))
PY
seen=$(venv/bin/python seen.py)
expected='2024-01-31 2024-02-29 28 28 29
2024-02-29 2024-03-31 31 30 30
2024-02-29 2025-02-28 365 364 364
2024-01-31 2024-03-31 59 59 59'
echo "days by QuantLib, pyxirr, daycounts:"; echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; } >&2

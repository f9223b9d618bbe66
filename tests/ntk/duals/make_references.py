"""Writes references.csv: the maps without a closed form at the covariances of the tests, in 30 digits.

Run `python tests/ntk/duals/make_references.py` (minutes). Inputs are stored exactly, as hexadecimal floats. GELU is
also computed at float32 inputs, and with its change under one rounding; the logistic family is held to a
flat tolerance in float64 and needs neither.
"""

import csv
from collections.abc import Iterator

from dual_quadrature import QUADRATURES
from dual_reference import REFERENCES, changes_under_rounding, covariances, exact
from mpmath import mp

COLUMNS = ("name", "dtype", "q11", "q12", "q22", "dual", "derivative", "dual_change", "derivative_change")


def rows() -> Iterator[tuple[str, ...]]:
    for name, dual in QUADRATURES.items():
        for dtype in ("float64", "float32") if name == "gelu" else ("float64",):
            for inputs in covariances(dtype):
                arguments = exact(*inputs)
                values = [mp.nstr(value, 30) for value in dual(*arguments)]
                changes = ["0", "0"]
                if name == "gelu":
                    changes = [mp.nstr(c, 5) for c in changes_under_rounding(dual, *arguments, dtype)]
                yield (name, dtype, *(q.hex() for q in inputs), *values, *changes)


if __name__ == "__main__":
    with REFERENCES.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows()])

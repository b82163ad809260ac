"""What the quick run keeps of many cases of one thing; the others are `slow`, and `pytest -m slow` runs them."""
import pytest


def slow(*values, id=None):
    "A case for `parametrize` that the quick run leaves out."
    return pytest.param(*values, marks=pytest.mark.slow, id=id)


def one_of_each(cases, kind=lambda case: case[0]):
    "All cases for `parametrize`: the first of each kind is quick, the others are slow."
    seen, told = set(), []
    for case in cases:
        values = case if isinstance(case, tuple) else (case,)
        told.append(slow(*values) if kind(case) in seen else pytest.param(*values))
        seen.add(kind(case))
    return told

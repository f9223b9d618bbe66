"""Activations and programs that ntk has names for: by these they are saved, and taken apart by `pickle` and `copy`.

The functions in them cannot be found by their own names, and a copy of them would be another activation, for which all
is compiled anew. Scikit-learn copies what it searches over.
"""

import copyreg
from typing import Any

from ntk.duals import Activation, activation
from ntk.programs import TensorProgram, architectures


def known_program(name: str) -> Any:
    """The program of `ntk.architectures` that has that name, or None."""
    found = getattr(architectures, name, None)
    return found if isinstance(found, TensorProgram) else None


def has_a_name(value: Activation | TensorProgram) -> bool:
    """Whether an activation or a program is one that ntk has a name for."""
    if isinstance(value, TensorProgram):
        known = known_program(value.__name__)
        return known is not None and known.fn is value.fn
    try:
        return activation(value.name) is value
    except ValueError:
        return False


def _reduced(value: Any) -> Any:
    if not has_a_name(value):
        return object.__reduce_ex__(value, 2)
    if isinstance(value, Activation):
        return activation, (value.name,)
    return _program_with, (value.__name__, {**value.numbers, **value.choices})


def _program_with(name: str, options: dict[str, Any]) -> TensorProgram:
    return getattr(architectures, name)(**options)


copyreg.pickle(Activation, _reduced)
copyreg.pickle(TensorProgram, _reduced)

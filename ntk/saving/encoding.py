"""Values as JSON and a list of arrays."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ntk.checks import shown
from ntk.duals import Activation
from ntk.programs import TensorProgram
from ntk.saving.names import CLASSES, ESTIMATORS, LOSSES, fitted_attributes, has_a_name


def encoded(value: Any, arrays: list[np.ndarray]) -> Any:
    """The value as JSON. Its arrays are appended to the list, and JSON refers to them by number."""
    if value is None or (isinstance(value, bool | int | float | str) and type(value) in (bool, int, float, str)):
        return value
    if isinstance(value, np.ma.MaskedArray):
        parts = value.data, np.ma.getmaskarray(value), value.fill_value
        return {"kind": "masked", "parts": [encoded(np.asarray(part), arrays) for part in parts]}
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return _encoded_array(value, arrays)
    if isinstance(value, Activation):
        return {"kind": "activation", "name": _named_activation(value)}
    if isinstance(value, TensorProgram):
        return _encoded_program(value, arrays)
    if isinstance(value, np.dtype):
        return {"kind": "dtype", "name": value.name}
    name = type(value).__name__
    if _is_one_of(value, CLASSES):
        names = (
            [field.name for field in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else value._fields
        )
        content = {field: encoded(getattr(value, field), arrays) for field in names}
        return {"kind": "class", "name": name, "fields": content}
    if _is_one_of(value, ESTIMATORS):
        fitted = {key: item for key, item in vars(value).items() if key.endswith("_")}
        if unknown := fitted.keys() - fitted_attributes(type(value)):
            raise TypeError(f"value holds an {name} with {min(unknown)}; expected the attributes of an {name} alone.")
        return {
            "kind": "estimator",
            "name": name,
            "params": encoded(value.get_params(deep=False), arrays),
            "fitted": encoded(fitted, arrays),
        }
    if callable(value) and value in map(functools.partial(getattr, optax), LOSSES):
        return {"kind": "loss", "name": value.__name__}
    if type(value) in (list, tuple):
        return {"kind": name, "items": [encoded(item, arrays) for item in value]}
    if type(value) is dict:
        return {"kind": "dict", "items": [[encoded(part, arrays) for part in item] for item in value.items()]}
    raise TypeError(f"value holds {shown(value)}, a {name}; expected arrays, numbers, containers and objects of ntk.")


def _encoded_array(value: jax.Array | np.ndarray | np.generic, arrays: list[np.ndarray]) -> dict[str, Any]:
    # Labels and columns of data frames.
    if isinstance(value, np.ndarray) and value.dtype == object and all(type(item) is str for item in value.flat):
        return {"kind": "strings", "shape": value.shape, "items": value.ravel().tolist()}
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        content = {"kind": "key", "impl": str(jax.random.key_impl(value)), "number": len(arrays)}
        array = np.asarray(jax.random.key_data(value))
    else:
        origin = "jax" if isinstance(value, jax.Array) else "scalar" if isinstance(value, np.generic) else "numpy"
        content = {"kind": origin, "number": len(arrays)}
        array = np.asarray(value)
    if array.dtype.kind not in "biufcU":
        raise TypeError(f"value holds an array of dtype {array.dtype}; expected numbers or strings of NumPy's own.")
    arrays.append(array)
    return content


def _encoded_program(program: TensorProgram, arrays: list[np.ndarray]) -> dict[str, Any]:
    if not has_a_name(program):
        raise TypeError(f"value holds the program {program.__name__!r}; expected one of ntk.architectures.")
    options = {**program.numbers, **program.choices}
    return {"kind": "program", "name": program.__name__, "options": encoded(options, arrays)}


def _named_activation(value: Activation) -> str:
    if not has_a_name(value):
        raise TypeError(f"value holds the activation {value.name!r} of your own; expected one that has a name in ntk.")
    return value.name


def _is_one_of(value: object, classes: dict[str, str]) -> bool:
    name = type(value).__name__
    return name in classes and type(value).__module__.startswith("ntk.")

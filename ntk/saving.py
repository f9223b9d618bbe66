"""Kernels, predictors and fitted estimators in one file, without pickle: a file can hold data, never code.

The file is an .npz: the arrays, and beside them the structure as JSON, in which classes stand by name. What a name may
be is fixed here.
"""

import dataclasses
import importlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntk.duals import Activation, activation
from ntk.programs import TensorProgram, architectures

# Dataclasses and named tuples, by name and home. Modules are imported when a file asks for them.
_CLASSES = {
    "MLP": "ntk.networks",
    "RNN": "ntk.networks",
    "Kernels": "ntk.decomposition",
    "ProgramKernels": "ntk.programs",
    "Layout": "ntk.dynamics.layout",
    "Spectrum": "ntk.dynamics.spectral",
    "SquaredLossPredictor": "ntk.dynamics",
    "SquaredLossEnsemble": "ntk.dynamics",
    "GaussianProcess": "ntk.dynamics",
    "Gaussian": "ntk.dynamics",
    "Prediction": "ntk.dynamics",
    "Solution": "ntk.dynamics",
    "Trajectory": "ntk.dynamics",
}
_ESTIMATORS = dict.fromkeys(("NTKRegressor", "NTKClassifier", "NNGPRegressor"), "ntk.estimators")
_STRUCTURE = "structure"
_VERSION = 1


def save(path: str | os.PathLike, value: Any) -> None:
    """Write kernels, a predictor, a fitted estimator, or containers of such to one file.

    It can hold arrays and PRNG keys, numbers, strings, None, lists, tuples and dictionaries; `ntk.Kernels` and other
    results; `ntk.MLP`, `ntk.RNN` and the programs of `ntk.architectures`, with activations by name; predictors of
    squared loss, their ensembles and Gaussian processes; the estimators of `ntk.estimators`.

    Args:
        path: Of the file, taken as it is; .npz is its usual ending. What is there is replaced once all is written.
        value: What to save.

    Raises:
        TypeError: Something in it is none of these, such as a function of one's own.
        OSError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> kernels = ntk.infinite_kernels(ntk.MLP(depth=2), jnp.eye(3))
        >>> path = Path(tempfile.mkdtemp()) / "kernels.npz"
        >>> ntk.save(path, {"kernels": kernels, "labels": [0, 1, 1]})
        >>> loaded = ntk.load(path)
        >>> bool(jnp.array_equal(loaded["kernels"].ntk, kernels.ntk)), loaded["labels"]
        (True, [0, 1, 1])
    """
    arrays: list[np.ndarray] = []
    structure = json.dumps({"version": _VERSION, "value": _encoded(value, arrays)}, ensure_ascii=False)
    path = Path(path)
    unfinished = path.with_name(path.name + ".part")
    members: dict[str, Any] = {_STRUCTURE: np.array(structure)} | {f"a{i}": array for i, array in enumerate(arrays)}
    with unfinished.open("wb") as file:
        np.savez(file, **members)
    os.replace(unfinished, path)


def load(path: str | os.PathLike) -> Any:
    """Read what `save` wrote; nothing in the file is run.

    Args:
        path: Of the file.

    Returns:
        What was saved: JAX arrays where there were JAX arrays, NumPy arrays where there were these.

    Raises:
        ValueError: The file is not one of `save`, or holds 64-bit JAX arrays where x64 is not enabled.
        ImportError: It holds an estimator, and scikit-learn is not installed.
        OSError: It cannot be read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "numbers.npz"
        >>> save(path, (1, 2.5, None))
        >>> load(path)
        (1, 2.5, None)
    """
    foreign = f"'{os.fspath(path)}' is no file that ntk.save of this version wrote."
    try:
        with np.load(path, allow_pickle=False) as file:
            content = json.loads(str(file[_STRUCTURE]))
            arrays = [file[f"a{i}"] for i in range(len(file.files) - 1)]
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile):
        raise ValueError(foreign) from None
    try:
        if content["version"] != _VERSION:
            raise ValueError(foreign)
        return _decoded(content["value"], arrays)
    except (KeyError, TypeError, IndexError, AttributeError):
        raise ValueError(foreign) from None


def _encoded(value: Any, arrays: list[np.ndarray]) -> Any:
    """The value as JSON; arrays go to the list, and stand there by number."""
    if value is None or (isinstance(value, bool | int | float | str) and type(value) in (bool, int, float, str)):
        return value
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return _encoded_array(value, arrays)
    if isinstance(value, Activation):
        return {"kind": "activation", "name": _named_activation(value)}
    if isinstance(value, TensorProgram):
        return _encoded_program(value, arrays)
    if isinstance(value, np.dtype):
        return {"kind": "dtype", "name": value.name}
    name = type(value).__name__
    if _is_one_of(value, _CLASSES):
        names = (
            [field.name for field in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else value._fields
        )
        content = {field: _encoded(getattr(value, field), arrays) for field in names}
        return {"kind": "class", "name": name, "fields": content}
    if _is_one_of(value, _ESTIMATORS):
        fitted = {key: item for key, item in vars(value).items() if key.endswith("_") or key == "n_features_in_"}
        return {
            "kind": "estimator",
            "name": name,
            "params": _encoded(value.get_params(deep=False), arrays),
            "fitted": _encoded(fitted, arrays),
        }
    if type(value) in (list, tuple):
        return {"kind": name, "items": [_encoded(item, arrays) for item in value]}
    if type(value) is dict:
        return {"kind": "dict", "items": [[_encoded(part, arrays) for part in item] for item in value.items()]}
    raise TypeError(f"value holds {value!r}, a {name}; expected arrays, numbers, containers and objects of ntk.")


def _encoded_array(value: Any, arrays: list[np.ndarray]) -> dict[str, Any]:
    if isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
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
    known = getattr(architectures, program.__name__, None)
    if not isinstance(known, TensorProgram) or known.fn is not program.fn:
        raise TypeError(f"value holds the program {program.__name__!r}; expected one of ntk.architectures.")
    options = {**program.numbers, **program.choices}
    return {"kind": "program", "name": program.__name__, "options": _encoded(options, arrays)}


def _named_activation(value: Activation) -> str:
    try:
        known = activation(value.name) is value
    except ValueError:
        known = False
    if not known:
        raise TypeError(f"value holds the activation {value.name!r} of your own; expected one that has a name in ntk.")
    return value.name


def _is_one_of(value: Any, classes: dict[str, str]) -> bool:
    name = type(value).__name__
    return name in classes and type(value).__module__.startswith("ntk.")


def _class(name: str, classes: dict[str, str]) -> Any:
    return getattr(importlib.import_module(classes[name]), name)


def _decoded(content: Any, arrays: list[np.ndarray]) -> Any:
    if not isinstance(content, dict):
        return content
    kind = content["kind"]
    if kind in ("numpy", "scalar", "jax", "key"):
        return _decoded_array(content, arrays[content["number"]])
    if kind == "activation":
        return activation(content["name"])
    if kind == "program":
        return getattr(architectures, content["name"])(**_decoded(content["options"], arrays))
    if kind == "dtype":
        return jnp.dtype(content["name"])
    if kind == "class":
        values = {name: _decoded(item, arrays) for name, item in content["fields"].items()}
        return _class(content["name"], _CLASSES)(**values)
    if kind == "estimator":
        estimator = _class(content["name"], _ESTIMATORS)(**_decoded(content["params"], arrays))
        vars(estimator).update(_decoded(content["fitted"], arrays))
        return estimator
    if kind == "dict":
        return {_decoded(key, arrays): _decoded(item, arrays) for key, item in content["items"]}
    items = [_decoded(item, arrays) for item in content["items"]]
    return tuple(items) if kind == "tuple" else items


def _decoded_array(content: dict[str, Any], array: np.ndarray) -> Any:
    kind = content["kind"]
    if kind == "numpy":
        return array
    if kind == "scalar":
        return array[()]
    if kind == "key":
        return jax.random.wrap_key_data(jnp.asarray(array), impl=content["impl"])
    if array.dtype != jax.dtypes.canonicalize_dtype(array.dtype):
        raise ValueError(f"the file holds JAX arrays of {array.dtype}; expected x64 to be enabled, to load them.")
    return jnp.asarray(array)

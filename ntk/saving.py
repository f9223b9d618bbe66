"""Kernels, predictors and fitted estimators in one file, without pickle: a file can hold data, never code.

The file is an .npz: the arrays, and beside them the structure as JSON, in which classes stand by name. What a name may
be is fixed here.
"""

import dataclasses
import functools
import importlib
import inspect
import json
import math
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ntk.checks import shown
from ntk.duals import Activation, activation
from ntk.files import replacing
from ntk.interop.named import has_a_name, known_program
from ntk.programs import TensorProgram

# Dataclasses and named tuples, by name and home. Modules are imported when a file asks for them.
_CLASSES = {
    "MLP": "ntk.networks",
    "RNN": "ntk.networks",
    "Kernels": "ntk.decomposition",
    "ProgramKernels": "ntk.programs",
    "Limits": "ntk.programs.evaluation",
    "CorrectedKernels": "ntk.programs",
    "CorrectedLimits": "ntk.programs.corrected",
    "Layout": "ntk.dynamics.layout",
    "Spectrum": "ntk.dynamics.spectral",
    "SquaredLossPredictor": "ntk.dynamics",
    "SquaredLossEnsemble": "ntk.dynamics",
    "LossFlowPredictor": "ntk.dynamics",
    "GaussianProcess": "ntk.dynamics",
    "Gaussian": "ntk.dynamics",
    "Prediction": "ntk.dynamics",
    "Solution": "ntk.dynamics",
    "Trajectory": "ntk.dynamics",
}
_ESTIMATORS = dict.fromkeys(("NTKRegressor", "NTKClassifier", "NNGPRegressor"), "ntk.estimators")
# The losses of Optax that a predictor may have.
_LOSSES = (
    "hinge_loss",
    "huber_loss",
    "l2_loss",
    "log_cosh",
    "sigmoid_binary_cross_entropy",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "squared_error",
)
_STRUCTURE = "structure"
_VERSION = 1
# What reading a file that is none, or of which bits have flipped, may raise.
_DAMAGED = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    EOFError,
    OSError,
    RuntimeError,
    SyntaxError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


class _Refused(ValueError):
    """A file declares more than it is, or needs x64; the sentence says which."""


def save(path: str | os.PathLike, value: Any) -> None:
    """Write kernels, a predictor, a fitted estimator, or containers of such to one file.

    It can hold arrays, masked ones too, and PRNG keys, numbers, strings, None, lists, tuples and dictionaries;
    `ntk.Kernels` and other results; `ntk.MLP`, `ntk.RNN` and the programs of `ntk.architectures`, with activations by
    name; the predictors of `ntk.dynamics`, where they have a loss one of Optax, and the default solver; the estimators
    of `ntk.estimators`.

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
    path = _as_path(path)
    arrays: list[np.ndarray] = []
    structure = json.dumps({"version": _VERSION, "value": _encoded(value, arrays)}, ensure_ascii=False)
    members: dict[str, Any] = {_STRUCTURE: np.array(structure)} | {f"a{i}": array for i, array in enumerate(arrays)}
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **members)


def load(path: str | os.PathLike) -> Any:
    """Read what `save` wrote; nothing in the file is run.

    Args:
        path: Of the file.

    Returns:
        What was saved: JAX arrays where there were JAX arrays, NumPy arrays where there were these.

    Raises:
        ValueError: The file is not one of `save`, is damaged, unpacks to more than it is (which is looked at before
            anything is unpacked), or of a later version, or holds 64-bit JAX arrays where x64 is not enabled.
        ImportError: It holds an estimator, and scikit-learn is not installed.
        OSError: It cannot be read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "numbers.npz"
        >>> save(path, (1, 2.5, None))
        >>> load(path)
        (1, 2.5, None)
    """
    path = _as_path(path)
    with path.open("rb") as file:
        try:
            _check_sizes(path, file)
            with np.load(file, allow_pickle=False) as members:
                content = json.loads(str(members[_STRUCTURE]))
                arrays = [members[f"a{i}"] for i in range(len(members.files) - 1)]
            if content["version"] == _VERSION:
                return _decoded(content["value"], arrays)
            version = int(content["version"])
        except _Refused:
            raise
        except _DAMAGED as error:
            raise ValueError(f"'{path}' is damaged, or no file that ntk.save wrote ({type(error).__name__}).") from None
    raise ValueError(f"'{path}' is of format {version}; expected {_VERSION}, which is what this version of ntk reads.")


def _as_path(path: Any) -> Path:
    # `open` would take an integer for a file that is open already, and close it.
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path is {shown(path)}; expected the path of a file.")
    return Path(path)


def _check_sizes(path: Path, file: IO[bytes]) -> None:
    """Refuse, before anything is unpacked, members that are packed or declare more than the file has bytes.

    `save` packs nothing, so that all that a file of its own holds is in it byte by byte. A small file that unpacks to a
    large one, or whose members overlap, or an array whose header tells of more than follows, is not of its making.

    Raises:
        ValueError: The sentence tells both sizes.
    """
    size = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as members:
        infos = members.infolist()
        declared = sum(info.file_size for info in infos)
        if declared > size or any(info.compress_type != zipfile.ZIP_STORED for info in infos):
            raise _Refused(
                f"'{path}' is damaged, or no file that ntk.save wrote: it has {size} bytes and unpacks to {declared}."
            )
        for info in infos:
            with members.open(info) as member:
                version = np.lib.format.read_magic(member)
                read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, _, dtype = read_header[version](member)
                declared = math.prod(shape) * dtype.itemsize
                if declared > info.file_size:
                    raise _Refused(
                        f"'{path}' is damaged, or no file that ntk.save wrote: it tells of an array of"
                        f" {declared} bytes in a member of {info.file_size}."
                    )
    file.seek(0)


def _encoded(value: Any, arrays: list[np.ndarray]) -> Any:
    """The value as JSON; arrays go to the list, and stand there by number."""
    if value is None or (isinstance(value, bool | int | float | str) and type(value) in (bool, int, float, str)):
        return value
    if isinstance(value, np.ma.MaskedArray):
        parts = value.data, np.ma.getmaskarray(value), value.fill_value
        return {"kind": "masked", "parts": [_encoded(np.asarray(part), arrays) for part in parts]}
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
        fitted = {key: item for key, item in vars(value).items() if key.endswith("_")}
        if unknown := fitted.keys() - _fitted_attributes(type(value)):
            raise TypeError(f"value holds an {name} with {min(unknown)}; expected the attributes of an {name} alone.")
        return {
            "kind": "estimator",
            "name": name,
            "params": _encoded(value.get_params(deep=False), arrays),
            "fitted": _encoded(fitted, arrays),
        }
    if callable(value) and value in map(functools.partial(getattr, optax), _LOSSES):
        return {"kind": "loss", "name": value.__name__}
    if type(value) in (list, tuple):
        return {"kind": name, "items": [_encoded(item, arrays) for item in value]}
    if type(value) is dict:
        return {"kind": "dict", "items": [[_encoded(part, arrays) for part in item] for item in value.items()]}
    raise TypeError(f"value holds {shown(value)}, a {name}; expected arrays, numbers, containers and objects of ntk.")


def _encoded_array(value: Any, arrays: list[np.ndarray]) -> dict[str, Any]:
    if value.dtype == object and all(type(item) is str for item in value.flat):  # labels and columns of data frames
        return {"kind": "strings", "shape": value.shape, "items": value.ravel().tolist()}
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
    if not has_a_name(program):
        raise TypeError(f"value holds the program {program.__name__!r}; expected one of ntk.architectures.")
    options = {**program.numbers, **program.choices}
    return {"kind": "program", "name": program.__name__, "options": _encoded(options, arrays)}


def _named_activation(value: Activation) -> str:
    if not has_a_name(value):
        raise TypeError(f"value holds the activation {value.name!r} of your own; expected one that has a name in ntk.")
    return value.name


def _is_one_of(value: Any, classes: dict[str, str]) -> bool:
    name = type(value).__name__
    return name in classes and type(value).__module__.startswith("ntk.")


def _fitted_attributes(estimator: type) -> set[str]:
    """The attributes that fitting gives to an estimator of that class, as it annotates them."""
    return {name for base in estimator.__mro__ for name in inspect.get_annotations(base) if name.endswith("_")}


def _class(name: str, classes: dict[str, str]) -> Any:
    return getattr(importlib.import_module(classes[name]), name)


def _decoded(content: Any, arrays: list[np.ndarray]) -> Any:
    if not isinstance(content, dict):
        return content
    kind = content["kind"]
    if kind in ("numpy", "scalar", "jax", "key"):
        return _decoded_array(content, arrays[content["number"]])
    if kind == "masked":
        data, mask, fill_value = (_decoded(part, arrays) for part in content["parts"])
        return np.ma.MaskedArray(data, mask, fill_value=fill_value)
    if kind == "activation":
        return activation(content["name"])
    if kind == "program":
        return known_program(content["name"])(**_decoded(content["options"], arrays))
    if kind == "loss":
        return getattr(optax, _LOSSES[_LOSSES.index(content["name"])])
    if kind == "strings":
        return np.array(content["items"], dtype=object).reshape(content["shape"])
    if kind == "dtype":
        return jnp.dtype(content["name"])
    if kind == "class":
        values = {name: _decoded(item, arrays) for name, item in content["fields"].items()}
        return _class(content["name"], _CLASSES)(**values)
    if kind == "estimator":
        estimator = _class(content["name"], _ESTIMATORS)(**_decoded(content["params"], arrays))
        fitted = _decoded(content["fitted"], arrays)
        if unknown := fitted.keys() - _fitted_attributes(type(estimator)):
            raise ValueError(f"{min(unknown)} is not an attribute of an {content['name']}")
        vars(estimator).update(fitted)
        return estimator
    if kind == "dict":
        return {_decoded(key, arrays): _decoded(item, arrays) for key, item in content["items"]}
    return {"list": list, "tuple": tuple}[kind](_decoded(item, arrays) for item in content["items"])


def _decoded_array(content: dict[str, Any], array: np.ndarray) -> Any:
    kind = content["kind"]
    if kind == "numpy":
        return array
    if kind == "scalar":
        return array[()]
    if kind == "key":
        return jax.random.wrap_key_data(jnp.asarray(array), impl=content["impl"])
    if array.dtype != jax.dtypes.canonicalize_dtype(array.dtype):
        raise _Refused(f"the file holds JAX arrays of {array.dtype}; expected x64 to be enabled, to load them.")
    return jnp.asarray(array)

"""Values from JSON and a list of arrays."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ntk.duals import activation
from ntk.saving.names import CLASSES, ESTIMATORS, LOSSES, class_of, fitted_attributes, known_program


class RefusedFile(ValueError):
    """The file declares more than it holds, or its arrays need x64. The message says which."""


def decoded(content: Any, arrays: list[np.ndarray]) -> Any:
    """The value that `encoded` wrote as JSON, with the arrays it numbered."""
    if not isinstance(content, dict):
        return content
    kind = content["kind"]
    if kind in ("numpy", "scalar", "jax", "key"):
        return _decoded_array(content, arrays[content["number"]])
    if kind == "masked":
        data, mask, fill_value = (decoded(part, arrays) for part in content["parts"])
        return np.ma.MaskedArray(data, mask, fill_value=fill_value)
    if kind == "activation":
        return activation(content["name"])
    if kind == "program":
        if (program := known_program(content["name"])) is None:
            raise LookupError(f"{content['name']} is not a program of ntk")
        return program(**decoded(content["options"], arrays))
    if kind == "loss":
        return getattr(optax, LOSSES[LOSSES.index(content["name"])])
    if kind == "strings":
        return np.array(content["items"], dtype=object).reshape(content["shape"])
    if kind == "dtype":
        return jnp.dtype(content["name"])
    if kind == "class":
        values = {name: decoded(item, arrays) for name, item in content["fields"].items()}
        return class_of(content["name"], CLASSES)(**values)
    if kind == "estimator":
        estimator = class_of(content["name"], ESTIMATORS)(**decoded(content["params"], arrays))
        fitted = decoded(content["fitted"], arrays)
        if unknown := fitted.keys() - fitted_attributes(type(estimator)):
            raise ValueError(f"{min(unknown)} is not an attribute of an {content['name']}")
        vars(estimator).update(fitted)
        return estimator
    if kind == "dict":
        return {decoded(key, arrays): decoded(item, arrays) for key, item in content["items"]}
    return {"list": list, "tuple": tuple}[kind](decoded(item, arrays) for item in content["items"])


def _decoded_array(content: dict[str, Any], array: np.ndarray) -> Any:
    kind = content["kind"]
    if kind == "numpy":
        return array
    if kind == "scalar":
        return array[()]
    if kind == "key":
        return jax.random.wrap_key_data(jnp.asarray(array), impl=content["impl"])
    if array.dtype != jax.dtypes.canonicalize_dtype(array.dtype):
        raise RefusedFile(f"the file holds JAX arrays of {array.dtype}; expected x64 to be enabled.")
    return jnp.asarray(array)

"""neural-tangents 0.6.5 on current JAX. Only this module supplies names that JAX has moved or removed since."""

import contextlib
import functools
import importlib
import importlib.metadata
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NoReturn

import jax
import jax.extend.core
import numpy as np
from jax.interpreters import ad

from ntk.duals import activation
from ntk.networks import MLP, RNN

_VERSION = "0.6.5"
_COMMAND = f"pip install --no-deps neural-tangents=={_VERSION} frozendict"
_LOCK = threading.Lock()
# Activation by its name here -> the layer of `stax` with the same dual maps, and its arguments.
_STAX_LAYERS: dict[str, tuple[Any, ...]] = {
    "relu": ("Relu",),
    "leaky_relu": ("LeakyRelu", 0.1),
    "abs": ("Abs",),
    "erf": ("Erf",),
    "gelu": ("Gelu",),
    "sin": ("Sin",),
    "cos": ("Cos",),
    "gaussian": ("Gaussian",),
    "exp": ("Exp",),
    "square": ("Monomial", 2),
    "cube": ("Monomial", 3),
}


def load_neural_tangents() -> ModuleType:
    """Import neural-tangents 0.6.5 (Novak et al. 2020, arXiv:1912.02803) on JAX 0.10 and newer.

    During the import JAX has the names that it has moved or removed since. Afterwards they are taken away, also if the
    import fails, so that JAX and its configuration stay as they were. `neural_tangents.experimental`, which needs
    TensorFlow, is an empty module. A second call returns the same module. After the first call a plain
    `import neural_tangents` works in the same process.

    These parts run: the `stax` layers and their kernels, `predict.gradient_descent_mse`,
    `predict.gradient_descent_mse_ensemble`, `predict.gp_inference`, `predict.gradient_descent`, `batch`,
    `monte_carlo_kernel_fn`, `linearize`, and the empirical kernels with `implementation=1` (Jacobian contraction, the
    default) and `implementation=2` (NTK-vector products). These do not run: `implementation=3` (structured derivatives)
    and `implementation=0` (AUTO), which raise ValueError, and `predict.max_learning_rate`, which passes SciPy an
    argument that SciPy has removed.

    The conventions of neural-tangents, compared with those of this package:

    - `ntk.MLP(depth=L, activation, w_std, b_std, v_std)` is `stax.serial` of L times `stax.Dense(n, w_std, b_std)` and
      the activation, then `stax.Dense(1, v_std, b_std=None)`: the read-out has no bias. `stax_kernel_fn` builds it.
    - `stax.Gelu()` is the erf form, as in this package. With `approximate=True` only the finite network changes; the
      infinite kernel stays the one of the erf form. `stax.Sigmoid_like` is a scaled erf and not the sigmoid.
      `stax.LeakyRelu` takes its slope (0.1 in this package). tanh, SiLU and softplus have no closed form there, and
      recurrent networks are missing.
    - Empirical kernels average over `trace_axes` (the trace divided by their size), as in this package. The axes are
      counted with the batch axis. For f → (N,) pass `trace_axes=()`; otherwise the batch itself is traced.
    - `predict` takes a squared loss that is a mean over all N·O targets. Its time is N·O times the time of the loss
      ½ Σ (f − y)².
    - Matrix products have JAX's default precision, which rounds float32 on TPU and recent GPUs. Set
      `jax.default_matmul_precision("highest")` on such devices.

    Returns:
        The module `neural_tangents`.

    Raises:
        ImportError: neural-tangents or frozendict is not installed, or neural-tangents has another version. The message
            contains the command that installs both without TensorFlow.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> stax = ntk.load_neural_tangents().stax
        >>> _, _, kernel_fn = stax.serial(stax.Dense(64), stax.Relu(), stax.Dense(1))
        >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> round(float(kernel_fn(x, None, "ntk")[0, 1]), 4)  # 1/4π
        0.0796
    """
    versions = {package: _installed_version(package) for package in ("neural_tangents", "frozendict")}
    missing = [package for package, version in versions.items() if version is None]
    if missing:
        raise ImportError(f"load_neural_tangents() cannot find {' and '.join(missing)}: run `{_COMMAND}`.")
    if versions["neural_tangents"] != _VERSION:
        raise ImportError(
            f"neural_tangents is {versions['neural_tangents']}; expected version {_VERSION}: run `{_COMMAND}`."
        )
    with _LOCK, _names_lent_to_import():
        neural_tangents = importlib.import_module("neural_tangents")
    _mend(neural_tangents._src.empirical)
    return neural_tangents


def stax_kernel_fn(net: MLP | RNN) -> Callable[..., Any]:
    """The infinite-width kernel function of a network, as neural-tangents 0.6.5 computes it (arXiv:1912.02803).

    `kernel_fn(x1, x2, "ntk")` is Θ and `kernel_fn(x1, x2, "nngp")` is Σ, (N1, N2), for inputs (N1, d) and (N2, d).
    Inputs are divided by √d, as in this package. None for x2 stands for x1. A tuple of both names gives both kernels.

    Args:
        net: An `ntk.MLP`. Its activation is one of those named relu, leaky_relu, abs, erf, gelu, sin, cos, gaussian,
            exp, square and cube.

    Returns:
        `kernel_fn(x1, x2, get)`.

    Raises:
        TypeError: `net` is not an `ntk.MLP`.
        ValueError: neural-tangents does not have the activation in closed form.
        ImportError: neural-tangents 0.6.5 or frozendict is not installed.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> kernel_fn = stax_kernel_fn(ntk.MLP(depth=1, activation="relu", b_std=0.0))
        >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> round(float(kernel_fn(x, None, "ntk")[0, 1]), 4)  # 1/4π
        0.0796
    """
    if not isinstance(net, MLP):
        raise TypeError(f"net is of type {type(net).__name__}; expected an ntk.MLP for neural-tangents.")
    # By identity: a function of the user's own may have the name of another one, as jax.nn.leaky_relu does.
    name = next((name for name in _STAX_LAYERS if activation(name) is net.activation), None)
    if name is None:
        raise ValueError(
            f"net.activation is {net.activation.name!r}; expected, for neural-tangents, one of those named "
            f"{', '.join(_STAX_LAYERS)}."
        )
    stax = load_neural_tangents().stax
    layer, *arguments = _STAX_LAYERS[name]
    hidden = [stax.Dense(1, W_std=net.w_std, b_std=net.b_std), getattr(stax, layer)(*arguments)] * net.depth
    # The read-out has no bias here.
    return stax.serial(*hidden, stax.Dense(1, W_std=net.v_std, b_std=None))[2]


def _installed_version(package: str) -> str | None:
    """Version of a package, None where it cannot be imported."""
    try:
        return importlib.metadata.version(package) if importlib.util.find_spec(package) else None
    except ImportError:  # an import hook refuses it, or the name is that of a folder and not of an installed package
        return None


@contextlib.contextmanager
def _names_lent_to_import() -> Iterator[None]:
    """Add the names that neural-tangents imports from JAX and that JAX no longer has; remove them at the end."""
    moved = {name: getattr(jax.extend.core, name) for name in ("Jaxpr", "JaxprEqn", "Literal", "Primitive", "Var")}
    util = ModuleType("jax.util")
    vars(util).update(safe_map=map, safe_zip=functools.partial(zip, strict=True))
    loaded = set(sys.modules)
    sys.modules.setdefault("neural_tangents.experimental", ModuleType("neural_tangents.experimental"))
    lent: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (vars(jax.core), moved),
        (vars(ad), {"zeros_like_p": jax.extend.core.Primitive("zeros_like")}),
        (sys.modules, {"jax.util": util}),
    ]
    with contextlib.ExitStack() as undo:
        for space, names in lent:
            # Looked up in the dictionary: asking a module of JAX for a name that it deprecates would warn.
            for name in names.keys() - space.keys():
                space[name] = names[name]
                undo.callback(space.pop, name)
        try:
            yield
        except BaseException:
            for name in set(sys.modules) - loaded:
                if name.partition(".")[0] == "neural_tangents":
                    del sys.modules[name]
            raise


def _mend(empirical: Any) -> None:
    """Replace two functions in neural-tangents' own module that do not run on current JAX."""

    def eval_shape(*args: Any, **kwargs: Any) -> Any:
        # It asks for jnp.size of the result, which JAX answers for arrays only.
        return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(*args, **kwargs))

    def refuse(**kwargs: Any) -> NoReturn:
        raise ValueError(
            "neural-tangents' implementation 0 (AUTO) and 3 (STRUCTURED_DERIVATIVES) do not run on this JAX; "
            "pass implementation=1 or implementation=2."
        )

    empirical.eval_shape = eval_shape
    for implementation in (0, 3):
        empirical._implementation_to_ntk_fn[implementation] = refuse

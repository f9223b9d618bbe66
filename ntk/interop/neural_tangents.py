"""neural-tangents 0.6.5 on current JAX: what JAX has moved or removed since is supplied here, and nowhere else."""

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

    Names that JAX has moved or removed are lent to it during the import and taken back afterwards, also when the
    import fails; JAX and its configuration stay as they were. `neural_tangents.experimental`, its TensorFlow part,
    is an empty module. Calling again returns the same module. After the first call a plain
    `import neural_tangents` works in the same process.

    What runs: the `stax` layers and their kernels, `predict.gradient_descent_mse`,
    `predict.gradient_descent_mse_ensemble`, `predict.gp_inference`, `predict.gradient_descent`, `batch`,
    `monte_carlo_kernel_fn`, `linearize`, and the empirical kernels with `implementation=1` (Jacobian contraction, the
    default) and `implementation=2` (NTK-vector products). What does not: `implementation=3` (structured derivatives)
    and `implementation=0` (AUTO), which raise ValueError, and `predict.max_learning_rate`, which asks SciPy
    for an argument that is gone.

    Its conventions beside those of this package:

    - `ntk.MLP(depth=L, activation, w_std, b_std, v_std)` is `stax.serial` of L times `stax.Dense(n, w_std, b_std)` and
      the activation, then `stax.Dense(1, v_std, b_std=None)`: the read-out has no bias here, so leave it out there.
      `stax_kernel_fn` builds it.
    - `stax.Gelu()` is the erf form, as here; with `approximate=True` only the finite network changes, its infinite
      kernel stays that of the erf form. `stax.Sigmoid_like` is a scaled erf, not the sigmoid; `LeakyRelu` asks for
      its slope (0.1 here). There is no tanh, SiLU or softplus in closed form, and no recurrent network.
    - Empirical kernels average over `trace_axes` (the trace divided by their size), as here. But the axes are
      counted with the batch axis: for f -> (N,) pass `trace_axes=()`, or the batch itself is traced.
    - `predict` takes a squared loss that is a mean over all N·O targets: its time is N·O times that of the loss
      ½ Σ (f − y)².
    - Matrix products have JAX's default precision, which rounds float32 on TPU and recent GPUs; run it inside
      `jax.default_matmul_precision("highest")` there.

    Returns:
        The module `neural_tangents`.

    Raises:
        ImportError: if neural-tangents or frozendict is not installed, or neural-tangents in another version; the
            message gives the command that installs both without TensorFlow.

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

    `kernel_fn(x1, x2, "ntk")` and `kernel_fn(x1, x2, "nngp")` are Θ and Σ, (N1, N2), of inputs (N1, d) and (N2, d)
    that are divided by √d, as here; `None` for x2 stands for x1. A tuple of both names gives both at once.

    Args:
        net: an `ntk.MLP` whose activation is the one named relu, leaky_relu, abs, erf, gelu, sin, cos, gaussian, exp,
            square or cube.

    Raises:
        TypeError: `net` is no MLP.
        ValueError: neural-tangents does not have the activation in closed form.
        ImportError: as for `load_neural_tangents`.

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
    except ImportError:  # an import hook refuses it, or a folder of that name is no installed package
        return None


@contextlib.contextmanager
def _names_lent_to_import() -> Iterator[None]:
    """Add what neural-tangents imports from JAX by name and JAX no longer has there; take it back at the end."""
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
    """Replace, in neural-tangents' own module, what current JAX runs differently."""

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

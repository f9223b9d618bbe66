"""Why L1 sets weights to zero and L2 does not, for least squares with two weights."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from experiments.common import plots
from experiments.regularization.optimizers import Strengths, regularized_optimizer

# L(w) = ½ (w − w*)ᵀ H (w − w*), for correlated inputs.
_HESSIAN = np.array([[1.0, 0.45], [0.45, 0.6]], np.float32)
_MINIMUM = np.array([1.0, 0.55], np.float32)
# Strengths at which both penalties give about the same loss.
_SHOWN = {"l1": 0.45, "l2": 0.35}
_TITLES = {"l1": r"$L_1$: $|w_1|+|w_2|\leq C$", "l2": r"$L_2$: $w_1^2+w_2^2\leq C^2$"}


def penalized_minima(penalty: str, strengths: Float[np.ndarray, " S"], num_steps: int = 2000) -> Float[Array, "S 2"]:
    """Minima of L + λ R for many λ, by (proximal) gradient descent in one program with `jax.vmap` over λ.

    Args:
        penalty: "l1" or "l2".
        strengths: λ.
        num_steps: The number of steps of gradient descent.

    Example:
        >>> w = penalized_minima("l1", np.array([0.0, 0.45], np.float32))
        >>> [[f"{weight:.3f}" for weight in row] for row in w.tolist()]
        [['1.000', '0.550'], ['0.797', '0.000']]
    """

    def minimum(strength: Array) -> Array:
        # Descent is stable below 2 over the largest curvature. L2 adds 2λ to the curvature.
        rate = 1 / (np.linalg.norm(_HESSIAN, 2) + 2 * strength)
        optimizer = regularized_optimizer(Strengths(**{penalty: strength}), rate, momentum=0.0)

        def step(_: int, state: tuple[jax.Array, optax.OptState]) -> tuple[jax.Array, optax.OptState]:
            w, moments = state
            gradient = jnp.asarray(_HESSIAN) @ (w - jnp.asarray(_MINIMUM)[:, None])
            updates, moments = optimizer.update(gradient, moments, w)
            return optax.apply_updates(w, updates), moments

        w = jnp.zeros((2, 1), jnp.float32)
        return jax.lax.fori_loop(0, num_steps, step, (w, optimizer.init(w)))[0][:, 0]

    return jax.jit(jax.vmap(minimum))(jnp.asarray(strengths, jnp.float32))


def draw_geometry(stem: Path) -> None:
    """Ellipses of equal loss, the set that a penalty allows, the minimum on its border, and the path of minima in λ."""
    with plots.style():
        figure, panels = plots.make_figure(2, size=(6.4, 3.4), sharey=True)
        for axes, penalty, color in zip(panels, ("l1", "l2"), plots.PALETTE, strict=False):
            _draw_penalty(axes, penalty, color)
        panels[0].set_ylabel("$w_2$")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        plots.save_figure(figure, stem)


def _draw_penalty(axes: Axes, penalty: str, color: str) -> None:
    shown = float(_SHOWN[penalty])
    path = np.asarray(penalized_minima(penalty, np.concatenate([[shown], np.geomspace(1e-3, 30, 200)])))
    touching, path = path[0], path[1:]
    grid = np.linspace(-0.95, 1.55, 200)
    w = np.stack(np.meshgrid(grid, grid), axis=-1) - _MINIMUM
    loss = np.einsum("...i,ij,...j->...", w, _HESSIAN, w) / 2
    at = (touching - _MINIMUM) @ _HESSIAN @ (touching - _MINIMUM) / 2
    # The levels include the ellipse that touches the set.
    axes.contour(grid, grid, loss, levels=at * np.array([0.1, 0.4, 1.0, 1.9, 3.1]), colors="0.6", linewidths=0.8)
    axes.fill(*_border(penalty, touching), color=color, alpha=0.2, linewidth=0)
    axes.plot(*_border(penalty, touching), color=color)
    axes.plot(*path.T, color="k", linewidth=1, linestyle="--", label=r"minima for $\lambda$ from 0 to $\infty$")
    axes.plot(*_MINIMUM, "k*", markersize=9, label="least squares")
    axes.plot(*touching, "o", color=plots.PALETTE[1], markersize=7, label="penalized")
    value = "$w_2=0$ exactly" if touching[1] == 0 else f"$w_2={touching[1]:.2f}$"
    axes.text(0.02, 0.97, value, transform=axes.transAxes, va="top")
    for line in (axes.axhline, axes.axvline):
        line(0, color="0.3", linewidth=0.8)
    axes.set(xlabel="$w_1$", title=_TITLES[penalty], aspect="equal", xlim=(-0.9, 1.55), ylim=(-0.9, 1.2))
    axes.grid(False)


def _border(penalty: str, touching: Float[np.ndarray, " 2"]) -> Float[np.ndarray, "2 points"]:
    """The diamond (L1) or circle (L2) through a point."""
    if penalty == "l1":
        return np.abs(touching).sum() * np.array([[1, 0, -1, 0, 1], [0, 1, 0, -1, 0]])
    angles = np.linspace(0, 2 * np.pi, 200)
    return np.linalg.norm(touching) * np.stack([np.cos(angles), np.sin(angles)])

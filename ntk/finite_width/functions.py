"""Functions f(params, x) as the library calls them: of their trained leaves alone, and of batches of one."""

import contextlib
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ntk.trees import Params

ModelFunction = Callable[[Params, PyTree], Array]  # f(params, x), to one row for each input
Values = list[Array]  # the trained leaves of the parameters, in their order


def of_trained(
    f: Callable[..., PyTree], params: Params, trained: tuple[int, ...]
) -> tuple[Callable[..., PyTree], Values]:
    """The function f of the trained leaves alone, and these leaves. All other leaves are as `params` has them."""
    leaves, structure = jax.tree.flatten(params)

    def of_values(values: Values, *args: PyTree, **kwargs: PyTree) -> PyTree:
        chosen = dict(zip(trained, values, strict=True))
        return f(jax.tree.unflatten(structure, [chosen.get(i, leaf) for i, leaf in enumerate(leaves)]), *args, **kwargs)

    return of_values, [jnp.asarray(leaves[i]) for i in trained]


def batch_of_one(x: PyTree) -> PyTree:
    """One input as a batch."""
    return jax.tree.map(lambda leaf: leaf[None], x)


@contextlib.contextmanager
def loops_refused() -> Iterator[None]:
    """Explain JAX's error about the backward pass of a `while` loop in terms of f."""
    try:
        yield
    except ValueError as error:
        if "Reverse-mode differentiation does not work" not in str(error):
            raise
        raise ValueError(
            "f has a loop of unknown length, through which JAX takes no gradient backward; expected lax.scan, or"
            " lax.fori_loop with bounds that are Python integers."
        ) from None

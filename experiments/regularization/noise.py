"""The label noise of members, and the keys of all their random numbers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from experiments.regularization.members import Members
from ntk.dtypes import common_dtype

_STREAMS = ("parameters", "labels", "dropout", "test labels")


def member_key(member: Members, stream: str) -> Array:
    """The key of one stream of a member's random numbers: "parameters", "labels", "dropout" or "test labels"."""
    return jax.random.fold_in(jax.random.key(member.seed), _STREAMS.index(stream))


def noisy_labels(
    member: Members, labels: Int[Array, " N"], num_classes: int, stream: str = "labels"
) -> Int[Array, " N"]:
    """The labels after a share of them is redrawn from all classes. A larger share includes those of a smaller one."""
    chosen, drawn = jax.random.split(member_key(member, stream))
    share = jnp.asarray(member.label_noise)
    replaced = jax.random.uniform(chosen, labels.shape, jnp.float32).astype(common_dtype(share, jnp.float32)) < share
    return jnp.where(replaced, jax.random.randint(drawn, labels.shape, 0, num_classes, labels.dtype), labels)


def error_with_noise(error: Array, outputs: Float[Array, "N C"], member: Members) -> Array:
    """The expected error if the member's share of labels is redrawn from all classes.

    A redrawn label is right with probability 1/C where one class leads, and never right where there is a tie.
    """
    ahead = jnp.sum(outputs == jnp.max(outputs, axis=1, keepdims=True), axis=1) == 1
    right = jnp.mean(ahead, dtype=outputs.dtype) / outputs.shape[1]
    return (1 - member.label_noise) * error + member.label_noise * (1 - right)

"""Label noise of members, and the keys of everything that is random in them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from experiments.regularization.members import Members

_STREAMS = ("parameters", "labels", "dropout", "test labels")


def member_key(member: Members, stream: str) -> Array:
    """The key of one stream of a member's random numbers: "parameters", "labels", "dropout" or "test labels"."""
    return jax.random.fold_in(jax.random.key(member.seed), _STREAMS.index(stream))


def noisy_labels(
    member: Members, labels: Int[Array, " N"], num_classes: int, stream: str = "labels"
) -> Int[Array, " N"]:
    """The labels, of which the member's share is drawn anew from all classes; more noise keeps what less has drawn."""
    chosen, drawn = jax.random.split(member_key(member, stream))
    replaced = jax.random.uniform(chosen, labels.shape, jnp.float32) < member.label_noise
    return jnp.where(replaced, jax.random.randint(drawn, labels.shape, 0, num_classes, labels.dtype), labels)


def error_with_noise(error: Array, member: Members, num_classes: int) -> Array:
    """The error where the member's share of labels is drawn anew, of which 1 − 1/C come out wrong."""
    return (1 - member.label_noise) * error + member.label_noise * (1 - 1 / num_classes)

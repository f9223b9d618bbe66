"""All members of one shape trained by one compiled program: members side by side, steps and evaluation inside.

`start` makes the first states, `advance` trains and evaluates: a member alone is the case of one. Data and batches
are shared by members, so that the first layer of all of them is one matrix product; nothing else is, and what one
member does to its numbers, NaN for instance, stays with it.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Int

from experiments.regularization.measures import (
    calibration,
    classification,
    function_measures,
    margin_quantiles,
    pointwise_loss,
    weight_measures,
)
from experiments.regularization.members import Members
from experiments.regularization.models import Classifier, effective_weights, model_function, network_ntk
from experiments.regularization.noise import error_with_noise, member_key, noisy_labels
from experiments.regularization.optimizers import regularized_optimizer
from experiments.regularization.samples import Samples

# Passes of spectral normalization before it is measured.
_SETTLING = 20


@dataclasses.dataclass(frozen=True)
class Program:
    """What is compiled: all that is no array.

    Attributes:
        model: The network.
        loss: "cross_entropy" or "squared".
        optimizer: "sgd" or "adam".
        momentum: Of "sgd".
        batch_size: Points of a batch, drawn with replacement; None for all points at every step.
        singular_values: Whether penalties of singular values take part, the spectral and the nuclear norm.
        sized: Whether members differ in their numbers of training points; if not, all have all of them, and their
            batches are the same.
        noise_levels: Standard deviations of Gaussian noise on test inputs at which the error is measured.
        num_probes: Validation points on which the drift of the NTK and, from a few of them, the Lipschitz constant are
            measured; 0 leaves both out, which is faster to compile.
        batch_seed: Of the batches.
    """

    model: Classifier
    loss: str = "cross_entropy"
    optimizer: str = "sgd"
    momentum: float = 0.9
    batch_size: int | None = None
    singular_values: bool = False
    sized: bool = False
    noise_levels: tuple[float, ...] = ()
    num_probes: int = 0
    batch_seed: int = 0


class State(NamedTuple):
    """A member in training.

    Attributes:
        params: Parameters.
        statistics: Of its normalizations, `{}` or "batch_stats".
        optimizer: The optimizer's state.
        labels: Of all training points, with its noise.
        theta0: Its first NTK on the probes, None without any.
    """

    params: Any
    statistics: Any
    optimizer: Any
    labels: Int[Array, " train"]
    theta0: Array | None


def init_member(program: Program, member: Members, samples: Samples) -> State:
    """The state of one member before training."""
    variables = program.model.init(member_key(member, "parameters"), samples.x_train[:1])
    params = variables.pop("params")
    # Flax keeps running averages in float32 until they are first moved.
    variables = jax.tree.map(lambda leaf: leaf.astype(program.model.dtype), variables)
    optimizer = _optimizer(program, member).init(params)
    whole = {"variables": variables | {"params": params}, "gain": member.gain}
    probes = samples.x_validation[: program.num_probes]
    theta0 = network_ntk(program.model, whole, probes) if len(probes) else None
    labels = noisy_labels(member, samples.y_train, program.model.outputs)
    return State(params, variables, optimizer, labels, theta0)


def advance_member(
    program: Program, state: State, member: Members, samples: Samples, step: Array, num_steps: Array
) -> tuple[State, dict[str, Any]]:
    """One member after further steps, and what is measured of it then.

    Args:
        program: What is compiled.
        state: The member so far.
        member: Its numbers.
        samples: The data.
        step: How many steps it has taken.
        num_steps: How many to take.
    """

    def one_step(t: Array, state: State) -> State:
        return step_member(program, state, member, samples, t)

    state = _settled(program, lax.fori_loop(step, step + num_steps, one_step, state), samples)
    return state, evaluate_member(program, state, member, samples)


def step_member(program: Program, state: State, member: Members, samples: Samples, step: Array) -> State:
    """One member after one more step."""
    x, y = _batch(program, member, samples.x_train, state.labels, step)

    def loss(params: Any) -> tuple[Array, Any]:
        outputs, statistics = program.model.apply(
            state.statistics | {"params": params},
            x,
            train=True,
            dropout=member.dropout,
            gain=member.gain,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.fold_in(member_key(member, "dropout"), step)},
        )
        return jnp.mean(pointwise_loss(program.loss, outputs, y)), statistics

    gradient, statistics = jax.grad(loss, has_aux=True)(state.params)
    updates, moments = _optimizer(program, member).update(gradient, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    return state._replace(params=params, statistics=statistics, optimizer=moments)


def evaluate_member(program: Program, state: State, member: Members, samples: Samples) -> dict[str, Any]:
    """Everything that is recorded of a member at one time.

    Test and validation labels have no noise, but for the "gap": it is between the training error and the error on new
    points of the same distribution, with its noise. "finite" is whether every other number is, and every parameter.
    """
    whole = {"variables": state.statistics | {"params": state.params}, "gain": member.gain}

    def apply(x: Array) -> Array:
        return model_function(program.model)(whole, x)

    labels = state.labels
    own = jnp.arange(len(labels)) < member.num_train if program.sized else None
    train_outputs, test_outputs = apply(samples.x_train), apply(samples.x_test)

    def noisy_error(level: Array) -> Array:
        return classification(program.loss, apply(samples.x_test + level * samples.noise), samples.y_test)["error"]

    train = classification(program.loss, train_outputs, labels, own)
    test = classification(program.loss, test_outputs, samples.y_test)
    found = {
        "train": train,
        "validation": classification(program.loss, apply(samples.x_validation), samples.y_validation),
        "test": test,
        "gap": error_with_noise(test["error"], test_outputs, member) - train["error"],
        "margins": margin_quantiles(train_outputs, labels, own),
        "calibration": calibration(program.loss, test_outputs, samples.y_test),
    } | weight_measures(effective_weights(program.model, whole["variables"], samples.x_train, whole["gain"]))
    if program.noise_levels:
        found["noisy_errors"] = lax.map(noisy_error, jnp.asarray(program.noise_levels, samples.noise.dtype))
    if state.theta0 is not None:
        probes = samples.x_validation[: program.num_probes]
        found |= function_measures(program.model, whole, state.theta0, probes)
    finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((state.params, found))]
    return found | {"finite": jnp.stack(finite).all()}


@functools.partial(jax.jit, static_argnames=("program", "mesh"))
def start(members: Members, samples: Samples, *, program: Program, mesh: Mesh) -> State:
    """First states of all members; arguments as `advance` has them."""

    def local(members: Members, samples: Samples) -> State:
        # One after the other: random numbers take longer to compile side by side than to draw.
        return lax.map(lambda member: init_member(program, member, samples), members)

    return jax.shard_map(local, mesh=mesh, in_specs=(P("members"), P()), out_specs=P("members"), check_vma=False)(
        members, samples
    )


@functools.partial(jax.jit, static_argnames=("program", "block", "mesh"), donate_argnames="state")
def advance(
    state: State,
    members: Members,
    samples: Samples,
    step: Array,
    num_steps: Array,
    *,
    program: Program,
    block: int,
    mesh: Mesh,
) -> tuple[State, dict[str, Any]]:
    """All members after further steps, and what is measured of each.

    Args:
        state: Of all members; its memory is used again.
        members: M of them, a multiple of `block` times the number of devices.
        samples: The data, the same for all.
        step: How many steps they have taken.
        num_steps: How many to take; 0 only measures.
        program: What is compiled.
        block: How many members one device trains side by side, under `jax.vmap`; blocks follow each other, under
            `jax.lax.map`.
        mesh: Devices, with one axis "members".

    Returns:
        The states and the measurements, of leading axis M.
    """

    def local(state: State, members: Members, samples: Samples, step: Array, num_steps: Array) -> Any:
        def one(pair: tuple[State, Members]) -> Any:
            return advance_member(program, *pair, samples, step, num_steps)

        return _in_blocks(one, block, (state, members))

    specs = (P("members"), P("members"), P(), P(), P())
    return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=P("members"), check_vma=False)(
        state, members, samples, step, num_steps
    )


def member_mesh(devices: Any = None) -> Mesh:
    """All devices, or those given, in one axis "members".

    Example:
        >>> dict(member_mesh(jax.devices()[:1]).shape)
        {'members': 1}
    """
    return Mesh(jax.devices() if devices is None else devices, "members")


def on_devices(members: Any, mesh: Mesh) -> Any:
    """Arrays of members spread over the mesh."""
    return jax.device_put(members, NamedSharding(mesh, P("members")))


def _in_blocks(one: Callable[[Any], Any], block: int, members: Any) -> Any:
    blocks = jax.tree.map(lambda leaf: leaf.reshape(-1, block, *leaf.shape[1:]), members)
    results = lax.map(jax.vmap(one) if block > 1 else lambda group: _alone(one, group), blocks)
    return jax.tree.map(lambda leaf: lax.collapse(leaf, 0, 2), results)


def _alone(one: Callable[[Any], Any], group: Any) -> Any:
    """A block of one without `jax.vmap`, whose batched products are slower than plain ones."""
    return jax.tree.map(lambda leaf: leaf[None], one(jax.tree.map(lambda leaf: leaf[0], group)))


def _optimizer(program: Program, member: Members) -> optax.GradientTransformation:
    return regularized_optimizer(
        member.strengths,
        member.learning_rate,
        kind=program.optimizer,
        momentum=program.momentum,
        singular_values=program.singular_values,
    )


def _batch(program: Program, member: Members, x: Array, labels: Array, step: Array) -> tuple[Array, Array]:
    if program.batch_size is None:
        return x, labels
    size = member.num_train if program.sized else len(x)
    key = jax.random.fold_in(jax.random.key(program.batch_seed), step)
    uniform = jax.random.uniform(key, (program.batch_size,), jnp.float32)
    chosen = jnp.minimum((uniform * size).astype(jnp.int32), size - 1)
    return x[chosen], labels[chosen]


def _settled(program: Program, state: State, samples: Samples) -> State:
    """Before it is measured, spectral normalization finds the norms that it has been following in training."""
    if program.model.layers != "spectral_norm":
        return state

    def again(_: Array, statistics: Any) -> Any:
        variables = statistics | {"params": state.params}
        return program.model.apply(variables, samples.x_train[:1], train=True, mutable=["batch_stats"])[1]

    return state._replace(statistics=lax.fori_loop(0, _SETTLING, again, state.statistics))

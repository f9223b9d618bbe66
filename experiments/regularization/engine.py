"""One compiled program trains all members of the same shapes, side by side. It contains the steps and the evaluation.

`start` makes the first states, and `advance` trains and evaluates. A single member is a group of one. Members share
data and batches, so that the first layer of all members is one matrix product. They share nothing else, so that NaN in
one member does not affect the others.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Int, PyTree

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
from ntk.trees import Params

# Power iterations of spectral normalization before a measurement.
_SETTLING = 20


@dataclasses.dataclass(frozen=True)
class Program:
    """The static part of a compiled program: everything except arrays.

    Attributes:
        model: The network.
        loss: "cross_entropy" or "squared".
        optimizer: "sgd" or "adam".
        momentum: The momentum of "sgd".
        batch_size: The number of points of a batch, drawn with replacement; None takes all points at every step.
        singular_values: Whether the program has penalties of singular values, the spectral and the nuclear norm.
        sized: Whether members differ in their numbers of training points. If not, every member has all training points,
            and all members have the same batches.
        noise_levels: Standard deviations of Gaussian noise on test inputs at which the error is measured.
        num_probes: The number of validation points on which the drift of the NTK is measured. A few of them start the
            search for the Lipschitz constant. 0 leaves both out, which is faster to compile.
        batch_seed: The seed of the batches.
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
        statistics: The statistics of its normalizations, `{}` or "batch_stats".
        optimizer: The optimizer's state.
        labels: The labels of all training points, with the member's noise.
        theta0: The NTK on the probes before training; None without probes.
    """

    params: Params
    statistics: PyTree
    optimizer: optax.OptState
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
    """One member after further steps, and its measurements.

    Args:
        program: The static part.
        state: The member so far.
        member: Its numbers.
        samples: The data.
        step: The number of steps that it has taken.
        num_steps: The number of further steps.
    """

    def one_step(t: Array, state: State) -> State:
        return step_member(program, state, member, samples, t)

    state = _settled(program, lax.fori_loop(step, step + num_steps, one_step, state), samples)
    return state, evaluate_member(program, state, member, samples)


def step_member(program: Program, state: State, member: Members, samples: Samples, step: Array) -> State:
    """One member after one more step."""
    x, y = _batch(program, member, samples.x_train, state.labels, step)

    def loss(params: Params) -> tuple[Array, PyTree]:
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
    """All measurements of a member at one time.

    Test and validation labels have no noise. The "gap" is the error on new points of the training distribution, with
    the member's label noise, minus the training error. "finite" says whether all other numbers and all parameters are
    finite.
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
    """The first states of all members. `advance` describes the arguments."""

    def local(members: Members, samples: Samples) -> State:
        # One after the other, since compiling random numbers side by side takes longer than drawing them.
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
    """All members after further steps, and their measurements.

    Args:
        state: The states of all members. Their memory is used again.
        members: M members; M is a multiple of `block` times the number of devices.
        samples: The data, the same for all.
        step: The number of steps that they have taken.
        num_steps: The number of further steps; 0 only measures.
        program: The static part.
        block: The number of members that one device trains side by side, under `jax.vmap`. One block follows the other,
            under `jax.lax.map`.
        mesh: The devices, with one axis "members".

    Returns:
        The states and the measurements, with the leading axis M.
    """

    def local(state: State, members: Members, samples: Samples, step: Array, num_steps: Array) -> PyTree:
        def one(pair: tuple[State, Members]) -> PyTree:
            return advance_member(program, *pair, samples, step, num_steps)

        return _in_blocks(one, block, (state, members))

    specs = (P("members"), P("members"), P(), P(), P())
    return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=P("members"), check_vma=False)(
        state, members, samples, step, num_steps
    )


def member_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of the given devices, by default all, with one axis "members".

    Example:
        >>> dict(member_mesh(jax.devices()[:1]).shape)
        {'members': 1}
    """
    return Mesh(jax.devices() if devices is None else devices, "members")


def on_devices(members: PyTree, mesh: Mesh) -> PyTree:
    """Arrays of members spread over the mesh."""
    return jax.device_put(members, NamedSharding(mesh, P("members")))


def _in_blocks(one: Callable[[PyTree], PyTree], block: int, members: PyTree) -> PyTree:
    blocks = jax.tree.map(lambda leaf: leaf.reshape(-1, block, *leaf.shape[1:]), members)
    results = lax.map(jax.vmap(one) if block > 1 else lambda group: _alone(one, group), blocks)
    return jax.tree.map(lambda leaf: lax.collapse(leaf, 0, 2), results)


def _alone(one: Callable[[PyTree], PyTree], group: PyTree) -> PyTree:
    """A block of one member without `jax.vmap`, since batched products are slower than plain ones."""
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
    """Power iterations until spectral normalization has the norms that it only follows in training."""
    if program.model.layers != "spectral_norm":
        return state

    def again(_: Array, statistics: PyTree) -> PyTree:
        variables = statistics | {"params": state.params}
        return program.model.apply(variables, samples.x_train[:1], train=True, mutable=["batch_stats"])[1]

    return state._replace(statistics=lax.fori_loop(0, _SETTLING, again, state.statistics))

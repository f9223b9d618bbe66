"""Members trained together: the same as alone, as a plain loop, in few programs, on every platform, and apart."""

import dataclasses
import functools
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export
from tolerances import CLOSED_FORM, PEER

from experiments.regularization.engine import Program, advance, evaluate_member, init_member, member_mesh, start
from experiments.regularization.figures.selection import stopped_early
from experiments.regularization.members import REGULARIZERS, Member, as_arrays
from experiments.regularization.models import CNN, MLP, RNN
from experiments.regularization.noise import error_with_noise, noisy_labels
from experiments.regularization.samples import Samples

pytestmark = pytest.mark.slow

WIDTH, CLASSES, NUM_TRAIN, STEPS = 6, 3, 40, 120
STRENGTHS = {"dropout": 0.3, "spectral_norm": 1.5, "nuclear": 0.1, "spectral": 0.2, "batch_norm": 0.0, "none": 0.0}
SHAPES = {MLP: (5,), RNN: (3, 2), CNN: (4, 4, 1)}
PENALTIES = [name for name, found in REGULARIZERS.items() if found.layers == "plain" and not found.singular_values]
SINGULAR_VALUES = [name for name, found in REGULARIZERS.items() if found.singular_values]


def samples(dtype="float64", shape=(5,)):
    """Points of three classes with random means."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(CLASSES, *shape))

    def draw(size):
        y = rng.integers(0, CLASSES, size)
        return jnp.asarray((means[y] + 0.7 * rng.normal(size=(size, *shape))).astype(dtype)), jnp.asarray(y, jnp.int32)

    noise = jnp.asarray(rng.normal(size=(20, *shape)).astype(dtype))
    return Samples(*draw(NUM_TRAIN), *draw(12), *draw(20), noise)


def program(name="none", dtype="float64", model=MLP, **options):
    regularizer = REGULARIZERS[name]
    network = model(outputs=CLASSES, width=WIDTH, depth=2, layers=regularizer.layers, dtype=jnp.dtype(dtype))
    defaults = {"batch_size": 8, "singular_values": regularizer.singular_values, "noise_levels": (0.5,)}
    return Program(network, **(defaults | options))


def member(name, seed=0, **changes):
    strength = STRENGTHS.get(name, 3e-3)
    return Member(name, strength, WIDTH, 0.1, 0.1, NUM_TRAIN, seed)._replace(**changes)


def trained(plan, members, data, steps=STEPS, block=None):
    """States and measurements after so many steps of all members on one device, `block` of them side by side."""
    arrays = as_arrays(members, data.x_train.dtype)
    options = {"program": plan, "block": block or len(members), "mesh": member_mesh(jax.devices()[:1])}
    state = start(arrays, data, program=plan, mesh=options["mesh"])
    return advance(state, arrays, data, jnp.int32(0), jnp.int32(steps), **options)


def part(results, index):
    """Of one member, with its axis."""
    return jax.tree.map(lambda leaf: leaf[index : index + 1], results)


def largest_difference(together, alone):
    """Of all parameters and measurements that both have, relative to the size of each array; NaN if one is NaN."""
    pairs = zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True)
    arrays = ((np.float64(a), np.float64(b)) for a, b in pairs)
    return np.max([np.abs(a - b).max() / max(np.abs(b).max(), 1) for a, b in arrays])


@pytest.fixture(scope="module")
def penalized():
    """One member of every penalty of weights in a program of all of them, and what became of them, trained together."""
    members = [member(name, seed) for seed, name in enumerate(PENALTIES)]
    return members, trained(program(), members, samples())


def test_members_together_are_the_same_as_alone(penalized):
    # In float64 rounding grows to less than 1e-8 in a whole run.
    members, together = penalized
    for index, one in enumerate(members):
        alone = trained(program(), [one], samples())
        assert largest_difference(part(together, index), alone) < 1e-8


def test_members_are_stopped_early_together_where_they_are_alone():
    members, stops = [member(name, seed, learning_rate=1.0) for seed, name in enumerate(PENALTIES)], (0, 5, 20, STEPS)

    def stopped(members):
        """Of each member the place of the least validation loss, and the test error there."""
        found = [trained(program(), members, samples(), steps)[1] for steps in stops]
        for index in range(len(members)):
            losses = [float(one["validation"]["loss"][index]) for one in found]
            curves = {"validation_loss": losses, "test_error": [float(one["test"]["error"][index]) for one in found]}
            yield int(np.argmin(losses)), stopped_early({"curves": curves}, "test_error")

    together = list(stopped(members))
    assert len({place for place, _ in together}) > 1
    assert together == [one for member in members for one in stopped([member])]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["penalties", "adam", "singular_values", "dropout", "batch_norm", "spectral_norm"])
@pytest.mark.parametrize("model", SHAPES)
def test_members_of_every_network_together_are_the_same_as_alone(model, name):
    names = {"penalties": PENALTIES, "adam": PENALTIES, "singular_values": SINGULAR_VALUES}.get(name, [name] * 3)
    members = [member(own, seed) for seed, own in enumerate(names)]
    options = {"model": model, "optimizer": "adam" if name == "adam" else "sgd"}
    # Measurements with derivatives of the function take long to compile.
    for dtype, steps, num_probes in (("float64", STEPS, 3 if name == "penalties" else 0), ("float32", 20, 0)):
        plan = program(names[0], dtype, num_probes=num_probes, **options)
        data = samples(dtype, SHAPES[model])
        together = trained(plan, members, data, steps)
        assert len(set(np.asarray(together[1]["train"]["loss"]).tolist())) == len(members)
        for index, one in enumerate(members):
            own, alone = part(together, index), trained(plan, [one], data, steps)
            if dtype == "float64":
                assert largest_difference(own, alone) < 1e-8
            else:
                # Rounding of about 1e-7 a step grows to some 1e-5 in 20 steps.
                assert largest_difference(own[0].params, alone[0].params) < 2e-5
                assert largest_difference(own[1]["train"]["loss"], alone[1]["train"]["loss"]) < 2e-5
        if name == "spectral_norm":
            # The error of the power iteration.
            np.testing.assert_allclose(together[1]["spectral"], STRENGTHS[name], rtol=1e-3)
        if name == "singular_values" and model is MLP and dtype == "float64":
            spectral, nuclear = together[1]["spectra"]["Dense_1/kernel"]
            assert spectral[0] - spectral[1] < PEER["float64"] < spectral[-1]
            assert nuclear[-1] < PEER["float64"] < nuclear[0] - nuclear[1]
    # The programs of all cases together are more than a process may map into its memory.
    jax.clear_caches()


def test_members_that_diverge_stay_alone_and_blocks_follow_each_other(penalized):
    members, together = penalized
    wild = member("l2", strength=1e9)
    found = trained(program(), [members[0], wild, *members[1:], wild, wild], samples(), block=2)
    diverged = [1, len(members) + 1, len(members) + 2]
    assert np.flatnonzero(~np.asarray(found[1]["finite"])).tolist() == diverged
    others = jax.tree.map(lambda leaf: np.delete(np.asarray(leaf), diverged, axis=0), found)
    assert largest_difference(others, together) < 1e-8


def test_a_member_is_what_a_plain_loop_makes_of_it():
    data, one = samples(), member("l2", label_noise=0.0)
    plan = program("l2", batch_size=None)
    found = trained(plan, [one], data, steps=10)[0].params
    params = jax.tree.map(lambda leaf: leaf[0], trained(plan, [one], data, steps=0)[0].params)
    average = jax.tree.map(jnp.zeros_like, params)

    def objective(params):
        outputs = plan.model.apply({"params": params}, data.x_train)
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, data.y_train)
        return losses.mean() + one.strength * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))

    for _ in range(10):
        average = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, average, jax.grad(objective)(params))
        params = jax.tree.map(lambda w, m: w - 0.1 * m, params, average)
    assert largest_difference(jax.tree.map(lambda leaf: leaf[0], found), params) < CLOSED_FORM["float64"]


@pytest.mark.slow
def test_a_smaller_training_set_is_the_first_points():
    data, small = samples(), member("l1", num_train=24)
    cut = data._replace(x_train=data.x_train[:24], y_train=data.y_train[:24])
    # Labels are drawn for all points at once, so that the noise of fewer points is another.
    quiet = {"label_noise": 0.0}
    among = trained(program(sized=True), [small._replace(**quiet), member("l1", **quiet)], data)
    apart = trained(program(), [small._replace(**quiet)], cut)
    among = part(among, 0)
    # Each has labels of its own number of points.
    assert largest_difference((among[0].params, among[1]), (apart[0].params, apart[1])) < 1e-8


def test_label_noise_is_nested_and_of_its_share():
    labels = jnp.zeros(4000, jnp.int32)

    def noisy(share, seed=0):
        one = jax.tree.map(lambda leaf: leaf[0], as_arrays([member("none", seed, label_noise=share)]))
        return np.asarray(noisy_labels(one, labels, 10))

    some, more, other = noisy(0.3), noisy(0.6), noisy(0.3, seed=1)
    # Nine of ten drawn classes are not the true one.
    assert np.mean(some != 0) == pytest.approx(0.27, abs=5 * (0.27 * 0.73 / 4000) ** 0.5)
    np.testing.assert_array_equal(more[some != 0], some[some != 0])
    assert np.mean(more != 0) > np.mean(some != 0) + 0.2
    assert np.mean(some != other) > 0.2
    np.testing.assert_array_equal(noisy(0.0), 0)


def test_the_error_with_noise_is_the_mean_over_labels_drawn_anew():
    outputs = np.array([[0.0, 2.0, 1.0], [1.0, 0.0, -1.0], [3.0, 1.0, 3.0], [0.0, 0.0, 0.0]])  # two ties
    labels, share = np.array([1, 2, 0, 0]), 0.3
    one = jax.tree.map(lambda leaf: leaf[0], as_arrays([member("none", label_noise=share)], "float64"))

    def error(labels):
        others = np.where(np.eye(3, dtype=bool)[labels], -np.inf, outputs).max(1)
        return np.mean(outputs[np.arange(4), labels] <= others)

    expected = (1 - share) * error(labels) + share * np.mean([error(np.full(4, drawn)) for drawn in range(3)])
    assert error_with_noise(error(labels), jnp.asarray(outputs), one) == pytest.approx(
        expected, rel=CLOSED_FORM["float64"]
    )


def test_a_member_with_any_number_that_is_not_finite_has_diverged():
    data, plan = samples("float32"), program(dtype="float32", num_probes=2, noise_levels=())
    one = jax.tree.map(lambda leaf: leaf[0], as_arrays([member("none")]))
    state = jax.jit(functools.partial(init_member, plan))(one, data)
    evaluate = jax.jit(functools.partial(evaluate_member, plan))
    assert evaluate(state, one, data)["finite"]
    # The losses are of order 1e33, and the NTK, of weights to the fourth power, is beyond float32.
    found = evaluate(state._replace(params=jax.tree.map(lambda leaf: 1e11 * leaf, state.params)), one, data)
    assert np.isfinite(found["train"]["loss"])
    assert np.isfinite(found["test"]["loss"])
    assert not found["finite"]


def compiled(caplog, call):
    """The names of the programs compiled during the call."""
    caplog.clear()
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        jax.block_until_ready(call())
    messages = [record.getMessage() for record in caplog.records]
    return [found[1] for found in (re.match(r"Compiling (?:jit\()?(\w+)", message) for message in messages) if found]


def test_all_penalties_are_one_program(caplog):
    data = samples("float32")
    plan = dataclasses.replace(program(dtype="float32"), batch_seed=5)  # compiled nowhere else

    def sweep():
        for name in PENALTIES:
            for steps in (0, 3, 7):
                result = trained(plan, [member(name, seed) for seed in range(2)], data, steps)
        return result

    found = compiled(caplog, sweep)
    assert (found.count("start"), found.count("advance")) == (1, 1)


@pytest.mark.parametrize(
    ("name", "model", "shape"),
    [
        ("nuclear", MLP, (5,)),
        pytest.param("none", CNN, (4, 4, 1), marks=pytest.mark.slow),
        pytest.param("spectral_norm", CNN, (4, 4, 1), marks=pytest.mark.slow),
        pytest.param("dropout", RNN, (3, 2), marks=pytest.mark.slow),
        pytest.param("batch_norm", RNN, (3, 2), marks=pytest.mark.slow),
    ],
)
def test_programs_lower_for_every_platform(name, model, shape):
    data = jax.eval_shape(lambda: samples("float32", shape))
    plan = program(name, "float32", model, num_probes=3)
    arrays = as_arrays([member(name, seed) for seed in range(2)])
    options = {"program": plan, "block": 2, "mesh": member_mesh(jax.devices()[:1])}
    first = {"program": plan, "mesh": options["mesh"]}
    state = jax.eval_shape(functools.partial(start, **first), arrays, data)
    count = jax.ShapeDtypeStruct((), jnp.int32)
    for function, arguments, static in (
        (start, (arrays, data), first),
        (advance, (state, arrays, data, count, count), options),
    ):
        lowered = export.export(function, platforms=("cpu", "cuda", "tpu"))(*arguments, **static)
        assert "callback" not in lowered.mlir_module()
        assert not any(aval.dtype == jnp.float64 for aval in lowered.out_avals)


ON_TWO_DEVICES = """
import sys
sys.path.insert(0, {folder!r})
import jax
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_enable_x64", True)
import test_engine as t
members, results = [t.member("nuclear", seed) for seed in range(4)], []
for devices in (jax.devices(), jax.devices()[:1]):
    arrays, data, mesh = t.as_arrays(members, "float64"), t.samples(), t.member_mesh(devices)
    state = t.start(arrays, data, program=t.program("nuclear"), mesh=mesh)
    count = (t.jnp.int32(0), t.jnp.int32(20))
    results.append(t.advance(state, arrays, data, *count, program=t.program("nuclear"), block=2, mesh=mesh))
assert results[0][1]["gap"].sharding.num_devices == 2
assert t.largest_difference(*results) < 1e-12
"""


@pytest.mark.slow
def test_members_are_spread_over_devices():
    # The number of CPU devices is fixed once JAX has started, so that this takes a process of its own.
    script = ON_TWO_DEVICES.format(folder=str(Path(__file__).parent))
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(Path(__file__).parents[3])}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, timeout=300)

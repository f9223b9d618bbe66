"""The experiment on training dynamics from end to end: every config, resuming, refusing, and what it measures."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import contents_of, names_of_files, records_of, small_config
from tolerances import CLOSED_FORM

import ntk
from experiments import training_dynamics
from experiments.common import plots
from experiments.common.networks import member_keys
from experiments.dynamics import runs as dynamics_runs

SMALL = {
    "widths": (8, 16),
    "num_seeds": 2,
    "batch_size": 2,
    "num_train": 6,
    "num_test": 4,
    "steps": 20,
    "every": 10,
    "directions": (0, 2),
    "num_shown": 2,
    "num_resamples": 50,
    "rate": 0.1,
}
OUTPUTS = names_of_files("trajectories", "drift")
small = functools.partial(small_config, SMALL, name="training_dynamics")


def like_measured(problem, name, width, config):
    """Numbers of the shapes that `train_networks` gives."""
    rng, steps = np.random.default_rng(width), len(dynamics_runs.recorded_steps(config))
    shapes = {"loss": (steps,), "loss_test": (steps,), "loss_predicted": (steps,), "error_test": (steps,)}
    shapes |= dict.fromkeys(("outputs", "linearized", "predicted"), (steps, config.num_shown))
    shapes |= dict.fromkeys(("left", "left_linear"), (steps, len(config.directions)))
    shapes |= dict.fromkeys(("drift", "movement", "to_linearized", "to_limit", "alignment", "alignment_before"), ())
    shapes |= {"spectrum": (config.num_train,)}
    return {measure: rng.uniform(0.1, 1, size=(config.num_seeds, *shape)) for measure, shape in shapes.items()}


def test_runs_and_goes_on_where_it_stopped(tmp_path, capsys, monkeypatch):
    config, measured = small(), []

    def train(problem, name, width, config):
        measured.append((name, width))
        return like_measured(problem, name, width, config)

    monkeypatch.setattr(training_dynamics, "train_networks", train)
    training_dynamics.main(config, tmp_path)
    everything = [(name, width) for name in ("ntk", "standard", "mup") for width in (8, 16)]
    assert measured == everything
    files = contents_of(tmp_path)
    assert set(files) == OUTPUTS
    assert files["drift.png"].startswith(b"\x89PNG")
    assert files["trajectories.pdf"].startswith(b"%PDF")
    summary = files["summary.md"].decode()
    assert summary in capsys.readouterr().out
    # The table has medians of the measurements, and the slope through all of them.
    drifts = np.array([like_measured(None, "ntk", width, config)["drift"] for width in (8, 16)])
    row = [cell.strip() for cell in next(line for line in summary.splitlines() if "kernel drift" in line).split("|")]
    assert row[5] == "-1"
    assert row[6:8] == [f"{median:.2e}" for median in np.median(drifts, axis=1)]
    slope = np.polyfit(np.repeat(np.log([8, 16]), 2), np.log(drifts).ravel(), deg=1)[0]
    # Printed with two decimals.
    assert float(row[3]) == pytest.approx(slope, abs=0.006)

    # After a kill half a line is left. Complete lines are not measured again.
    lines = files["metrics.jsonl"].splitlines(keepends=True)
    (tmp_path / "metrics.jsonl").write_bytes(b"".join(lines[:-1]) + lines[-1][:50])
    monkeypatch.setattr(plots, "save_figure", lambda figure, stem: None)
    training_dynamics.main(config, tmp_path)
    assert measured == [*everything, ("mup", 16)]
    assert contents_of(tmp_path) == files


@pytest.mark.slow
@pytest.mark.parametrize("name", ["training_dynamics", "training_dynamics_rnn", "training_dynamics_cross_entropy"])
def test_every_config_runs(name, tmp_path):
    changes = {} if name == "training_dynamics" else {"parameterizations": ("ntk", "mup")}
    config = small(name=name, **changes)
    training_dynamics.main(config, tmp_path)
    assert set(contents_of(tmp_path)) == OUTPUTS
    found = [(record["parameterization"], record["width"]) for record in records_of(tmp_path)]
    assert found == [(name, width) for name in config.parameterizations for width in (8, 16)]
    for record in records_of(tmp_path):
        expected = like_measured(None, "ntk", 8, config)
        if config.loss != "squared":
            expected = {measure: values for measure, values in expected.items() if not measure.startswith("left")}
        assert {measure: np.shape(record[measure]) for measure in expected} == {
            measure: np.shape(values) for measure, values in expected.items()
        }
        # All start from the same outputs, and the loss falls.
        for kind in ("linearized", "predicted"):
            np.testing.assert_array_equal(np.array(record[kind])[:, 0], np.array(record["outputs"])[:, 0])
        assert np.all(np.diff(record["loss"], axis=1) < 0)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
def test_measures_are_those_of_a_loop_over_steps(loss):
    """One network again, by hand: its loss, its kernels before and after, and their linear dynamics."""
    config = small(loss=loss, parameterizations=("ntk",))
    problem = dynamics_runs.make_problem(config)
    found = dynamics_runs.train_networks(problem, "ntk", 8, config)
    model = ntk.finite(problem.net, 8)
    params = start = model.init(member_keys(0, 8, 2)[1], problem.x)
    rate = dynamics_runs.learning_rate(problem, "ntk", config)
    assert rate == pytest.approx(
        0.1 * 2 / np.linalg.eigvalsh(ntk.infinite_ntk(problem.net, problem.x))[-1], rel=CLOSED_FORM["float32"]
    )

    def slope(f):
        labels = problem.labels
        return f - labels if loss == "squared" else -labels / (1 + jnp.exp(labels * f))

    @jax.jit
    def step(params):
        f, pull_back = jax.vjp(lambda p: model.apply(p, problem.x), params)
        return jax.tree.map(lambda p, g: p - rate * g, params, pull_back(slope(f))[0])

    before = ntk.empirical_ntk(model.apply, start, jnp.concatenate([problem.x, problem.x_test]), problem.x)
    line = model.apply(start, jnp.concatenate([problem.x, problem.x_test]))
    distance = 0.0
    for number in range(1, 21):
        params, line = step(params), line - rate * before @ slope(line[:6])
        if number <= 10 or number == 20:
            f_test = model.apply(params, problem.x_test)
            distance = max(distance, float(jnp.sqrt(jnp.mean((f_test - line[6:]) ** 2))))
    after = ntk.empirical_ntk(model.apply, params, problem.x)
    drift = np.linalg.norm(after - before[:6]) / np.linalg.norm(before[:6])
    # float32, over 20 steps.
    np.testing.assert_allclose(found["outputs"][1, -1], f_test[:2], rtol=0, atol=1e-4)
    assert found["drift"][1] == pytest.approx(drift, rel=2e-3)
    assert found["to_linearized"][1] == pytest.approx(distance, rel=2e-3, abs=1e-5)


def test_the_ensemble_starts_and_ends_as_it_must():
    config = small(steps=10_000, every=5000, rate=0.5)
    problem = dynamics_runs.make_problem(config)
    loss = dynamics_runs.ensemble_loss(problem, config)
    nngp = ntk.infinite_kernels(problem.net, problem.x).nngp
    # E (f − y)² = 1 + Σ(x, x) at the start; the end is 0.
    assert loss[0] == pytest.approx((1 + float(jnp.mean(jnp.diag(nngp)))) / 2, rel=1e-5)
    assert loss[-1] < 1e-6


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"loss": "hinge"}, "loss is 'hinge'; expected one of 'squared', 'cross_entropy'"),
        ({"widths": (8,)}, r"widths is \(8,\); expected at least two widths in increasing order"),
        ({"widths": (0, 8)}, "widths is 0; expected an integer of at least 1"),
        ({"parameterizations": ("mup",)}, r"parameterizations is \('mup',\); expected 'ntk' among them"),
        ({"parameterizations": ("ntk", "sp")}, "parameterizations is 'sp'; expected one of 'ntk', 'standard', 'mup'"),
        ({"num_seeds": 1}, "num_seeds is 1; expected an integer of at least 2"),
        ({"every": 3}, "every is 3; expected a divisor of steps = 20"),
        ({"every": 20}, "every is 20; expected a divisor of steps = 20 that is smaller"),
        ({"rate": 1.0}, "rate is 1.0; expected a share of the largest stable rate, between 0 and 1"),
        ({"directions": (6,)}, r"directions is \(6,\); expected numbers from 0 to num_train - 1"),
        ({"num_shown": 5}, "num_shown is 5; expected at most num_test = 4"),
        ({"confidence": 1.0}, "confidence is 1.0; expected a number between 0 and 1"),
        ({"quantiles": (0.9, 0.1)}, r"quantiles is \(0.9, 0.1\); expected two increasing numbers"),
        ({"num_train": 0}, "num_train is 0; expected an integer of at least 1"),
        ({"dataset": "mnits"}, "dataset is 'mnits'; expected one of 'digits'"),
        ({"network.kind": "lstm"}, "network.kind is 'lstm'; expected one of 'MLP', 'RNN'"),
        ({"network.depth": -1}, "depth is -1; expected an integer of at least 0"),
    ],
)
def test_refusals_are_one_sentence_and_leave_nothing(changes, sentence, tmp_path):
    with pytest.raises(SystemExit, match=sentence) as refusal:
        training_dynamics.main(small(**changes), tmp_path / "run")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "run").exists()

"""The experiment on kernel regression from end to end, and its parts against simulation and closed forms."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm
from small_runs import contents_of, names_of_files, records_of, small_config
from tolerances import CLOSED_FORM, PEER, SOLVED

import ntk
from experiments import kernel_regression
from experiments.common import plots
from experiments.common.calibration import expected_calibration_error, reliability
from experiments.common.networks import PROGRAMS, build_network
from experiments.data.images import load_data
from experiments.regression import runs as regression_runs
from experiments.regression.evidence import maximize_evidence, with_standard_deviations
from experiments.regression.probabilities import class_probabilities
from ntk import dynamics

SMALL = {
    "sizes": (6, 12),
    "num_test": 10,
    "evidence_size": 12,
    "samples": 64,
    "evidence_steps": 3,
    "finite.width": 8,
    "finite.num_seeds": 2,
    "finite.steps": 5,
}
MLP = {"kind": "MLP", "depth": 1, "activation": "erf"}
SMALL |= {"networks": {"MLP": MLP}, "finite.networks": ()}
OUTPUTS = names_of_files("regression", "networks")
small = functools.partial(small_config, SMALL, "kernel_regression")


def test_probabilities_of_classes_are_those_of_simulation():
    rng = np.random.default_rng(0)
    mean, std = rng.normal(size=(3, 4)), np.array([0.2, 1.0, 3.0])
    found = class_probabilities(mean, std)
    draws = 200_000
    samples = mean[:, None] + std[:, None, None] * rng.normal(size=(3, draws, 4))
    counted = np.mean(np.argmax(samples, axis=2)[:, :, None] == np.arange(4), axis=1)
    # Five standard errors of a share, and what a share of 0 may hide.
    assert np.all(np.abs(found - counted) < 5 * np.sqrt(found / draws) + 1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=CLOSED_FORM["float64"])
    two = class_probabilities(np.array([[0.3, -0.5]]), np.array([0.7]))
    np.testing.assert_allclose(two[0, 0], norm.cdf(0.8 / (0.7 * 2**0.5)), rtol=SOLVED["float64"])


def test_calibration_error_of_calibrated_and_overconfident_predictions():
    rng = np.random.default_rng(0)
    right = rng.uniform(0.5, 1, size=20_000)
    labels = (rng.random(20_000) > right).astype(int)
    # Five bins of 4,000: the mean of |deviation| of each is at most 0.5/√4000, and four times that never.
    assert (
        expected_calibration_error(reliability(jnp.asarray(right), jnp.asarray(labels == 0), 10)) < 4 * 0.5 / 4000**0.5
    )
    error = expected_calibration_error(reliability(jnp.full(20_000, 0.99), jnp.asarray(labels == 0), 10))
    assert error == pytest.approx(0.99 - np.mean(labels == 0), abs=CLOSED_FORM["float64"])


@pytest.mark.implicit_promotion  # Optax, in Adam
def test_evidence_finds_the_scale_that_the_data_have():
    """Targets drawn from the prior: the maximum lies where a grid has it, and near the truth."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    k = np.asarray(ntk.infinite_kernels(ntk.MLP(depth=1), x).nngp)
    y = 2.0 * np.linalg.cholesky(k + 1e-9 * np.eye(40)) @ rng.normal(size=(40, 30)) + 0.3 * rng.normal(size=(40, 30))

    def kernel(logs):
        return jnp.exp(logs["scale"]) * jnp.asarray(k)

    found = maximize_evidence(kernel, {"scale": 1.0, "noise": 1.0}, jnp.asarray(y), steps=100, learning_rate=0.15)
    # 1,200 numbers: a standard error of about 5 % in each variance; four of them.
    assert found.numbers["noise"] == pytest.approx(0.09, rel=0.2)
    assert found.numbers["scale"] == pytest.approx(4.0, rel=0.4)
    at_end = float(dynamics.log_marginal_likelihood(found.numbers["scale"] * k, y, ridge=found.numbers["noise"]))
    for factor in (0.8, 1.25):
        for name in ("scale", "noise"):
            other = found.numbers | {name: factor * found.numbers[name]}
            assert float(dynamics.log_marginal_likelihood(other["scale"] * k, y, ridge=other["noise"])) < at_end
    assert found.history.max() == pytest.approx(at_end / y.size, rel=SOLVED["float64"])


@pytest.mark.implicit_promotion  # Optax, in Adam
def test_evidence_keeps_the_best_step_and_refuses_values_that_are_not_finite():
    y = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)))
    # Steps of e³ leave the maximum at once and do not come back within two more.
    found = maximize_evidence(lambda logs: jnp.zeros((5, 5)), {"noise": 1.0}, y, steps=3, learning_rate=3.0)
    assert found.numbers["noise"] == pytest.approx(1.0)
    assert np.argmax(found.history) == 0
    # −I is not a kernel: with a noise below 1 there is no density.
    with pytest.raises(FloatingPointError, match=r"the marginal likelihood is nan in step 0; expected more noise"):
        maximize_evidence(lambda logs: -jnp.eye(5), {"noise": 0.5}, y, steps=2, learning_rate=0.1)


def test_scores_of_the_ntk_do_not_depend_on_the_scale_of_the_kernel():
    """A multiple of Θ and the same multiple of the ridge give the same trained networks, with the same noise."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(22, 40))
    k = features @ features.T / 40
    blocks = [regression_runs.KernelPair(part, part) for part in (k[:12, :12], k[12:, :12], k[12:, 12:])]
    labels = rng.integers(10, size=22)
    split = regression_runs.Split(features[:12], labels[:12], features[12:], labels[12:])
    fitted = regression_runs.Fitted(
        None, {"nngp": 0.1, "ntk": 0.2}, {"nngp": 0.1, "ntk": 0.3}, *blocks, {}, np.zeros(1)
    )
    larger = fitted._replace(
        ridge={"nngp": 0.1, "ntk": 0.3 * 50},
        train=blocks[0]._replace(ntk=50 * blocks[0].ntk),
        across=blocks[1]._replace(ntk=50 * blocks[1].ntk),
    )
    expected, found = (regression_runs.measure_kernels(each, split, (12,))["ntk"][0] for each in (fitted, larger))
    assert found["nll"] == pytest.approx(expected["nll"], rel=SOLVED["float64"])
    assert found["ece"] == pytest.approx(expected["ece"], rel=SOLVED["float64"])


@pytest.mark.slow
def test_hyperparameters_of_a_sampled_program_and_blocks_of_one_kernel():
    config, data = small(networks={"gru": {"kind": "gru"}}, evidence_steps=10), load_data("digits", 12, 10)
    with jax.enable_x64(True):
        split = regression_runs.split_of("gru", data)
        fitted = regression_runs.fit_network(config.networks["gru"], split, config)
    assert set(fitted.numbers) == {"w_std", "u_std", "b_std", "v_std", "noise"}
    assert fitted.history.max() > fitted.history[0] + 0.05
    assert fitted.ridge["nngp"] == fitted.noise["nngp"]
    whole = np.block([[fitted.train.ntk, fitted.across.ntk.T], [fitted.across.ntk, fitted.test.ntk]])
    # Samples of one kernel are positive semidefinite together.
    assert np.linalg.eigvalsh(whole)[0] > -1e-12 * np.linalg.eigvalsh(whole)[-1]


@pytest.mark.slow
def test_standard_deviations_are_found_by_gradients_through_the_kernel():
    config, data = small(evidence_steps=25), load_data("digits", 12, 10)
    with jax.enable_x64(True):
        split = regression_runs.split_of("MLP", data)
        fitted = regression_runs.fit_network(config.networks["MLP"], split, config)
        assert set(fitted.numbers) == {"w_std", "b_std", "v_std", "noise"}
        assert fitted.history[-1] > fitted.history[0] + 0.05
        again = ntk.infinite_kernels(with_standard_deviations(fitted.net, fitted.numbers), split.x).nngp
        np.testing.assert_allclose(fitted.train.nngp, again, rtol=PEER["float64"])
        scores = regression_runs.measure_kernels(fitted, split, (6, 12))
        mean = fitted.across.nngp @ np.linalg.solve(
            fitted.train.nngp + fitted.noise["nngp"] * np.eye(12), split.targets
        )
    assert scores["nngp"][1]["error"] == np.mean(np.argmax(mean, axis=1) != split.labels_test)
    assert [len(found) for found in scores.values()] == [2, 2]


def like_measured(label, data, config):
    """A record such as `measure_network` makes."""
    rng = np.random.default_rng(len(label))

    def scores():
        error, nll, ece = rng.uniform(0.1, 0.5, size=3)
        return {"error": error, "nll": nll, "ece": ece, "reliability": [[0.3, 0.9], [0.5, 0.8], [3, 7]]}

    record = {"network": label, "hyperparameters": {"noise": 0.1}, "noise": {}, "ridge": {}, "evidence": [-1.0, -0.5]}
    methods = ("nngp", "ntk", "finite") if label in config.finite.networks else ("nngp", "ntk")
    return record | {method: [scores() for _ in config.sizes] for method in methods}


def test_runs_and_goes_on_where_it_stopped(tmp_path, capsys, monkeypatch):
    config, measured = small(networks={"a": MLP, "bb": MLP}, **{"finite.networks": ("bb",)}), []

    def measure(label, data, config):
        measured.append(label)
        return like_measured(label, data, config)

    monkeypatch.setattr(kernel_regression, "measure_network", measure)
    kernel_regression.main(config, tmp_path)
    files = contents_of(tmp_path)
    assert set(files) == OUTPUTS
    assert files["networks.png"].startswith(b"\x89PNG")
    assert files["regression.pdf"].startswith(b"%PDF")
    summary = files["summary.md"].decode()
    assert summary in capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("|")] for line in summary.splitlines()]
    expected = like_measured("bb", None, config)["finite"][-1]
    assert ["", "bb", "finite networks", f"{100 * expected['error']:.1f} %", f"{expected['nll']:.3f}"] in [
        row[:5] for row in rows
    ]
    (tmp_path / "metrics.jsonl").write_bytes(files["metrics.jsonl"].splitlines(keepends=True)[0] + b'{"netw')
    monkeypatch.setattr(plots, "save_figure", lambda figure, stem: None)
    kernel_regression.main(config, tmp_path)
    assert measured == ["a", "bb", "bb"]
    assert contents_of(tmp_path) == files


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["MLP", "RNN", "mlp", "lstm", "cnn_2d", "self_attention", "batch_norm_mlp"])
def test_every_kind_of_network(kind, tmp_path):
    networks = {kind: {"kind": kind} | ({"depth": 1} if kind == "MLP" else {})}
    config = small(networks=networks, **{"finite.networks": (kind,)})
    kernel_regression.main(config, tmp_path)
    record = records_of(tmp_path)[0]
    like = like_measured(kind, None, config)
    assert record.keys() == like.keys()
    for method in ("nngp", "ntk", "finite"):
        assert len(record[method]) == 2
        assert record[method][0].keys() >= like[method][0].keys()
        assert 0 <= record[method][1]["error"] <= 1
    assert len(record["evidence"]) == 3
    assert len(record["finite"][0]["errors"]) == 2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sizes": (12,)}, r"sizes is \(12,\); expected at least two sample sizes in increasing order"),
        ({"sizes": (12, 6)}, "expected at least two sample sizes in increasing order"),
        ({"sizes": (1, 6)}, "sizes is 1; expected an integer of at least 2"),
        ({"evidence_size": 13}, "evidence_size is 13; expected a number from 2 to the largest of sizes"),
        ({"samples": 0}, "samples is 0; expected an integer of at least 1"),
        ({"noise": 0.0}, "noise is 0.0; expected a positive number"),
        ({"evidence_steps": 0}, "evidence_steps is 0; expected an integer of at least 1"),
        ({"finite.rate": 1.5}, "finite.rate is 1.5; expected a share of the largest stable rate"),
        ({"finite.num_seeds": 1}, "finite.num_seeds is 1; expected an integer of at least 2"),
        ({"finite.networks": ("RNN",)}, "finite.networks has 'RNN'; expected labels of networks"),
        ({"networks": {"a": {"kind": "gnn"}}}, "network.kind is 'gnn'; expected one of 'MLP'"),
        ({"num_test": 0}, "num_test is 0; expected an integer of at least 1"),
        ({"dataset": "mnits"}, "dataset is 'mnits'; expected one of 'digits'"),
    ],
)
def test_refusals_are_one_sentence_and_leave_nothing(changes, sentence, tmp_path):
    with pytest.raises(SystemExit, match=sentence) as refusal:
        kernel_regression.main(small(**changes), tmp_path / "run")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "run").exists()


def test_the_config_of_all_networks_has_them_all():
    config = importlib.import_module("configs.kernel_regression_all").get_config()
    kernel_regression.check_config(config)
    assert set(config.networks) == {"MLP", "RNN", *PROGRAMS}
    for kind, fields in config.networks.items():
        assert type(build_network(fields)) is (getattr(ntk, kind) if kind in ("MLP", "RNN") else ntk.TensorProgram)

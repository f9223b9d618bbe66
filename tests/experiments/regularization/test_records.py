"""The record of a member: all measurements at every evaluation, and its bounds or the reason why there are none."""

import jax
import pytest
from ml_collections import ConfigDict

from experiments.data.images import as_vectors, load_data
from experiments.regularization import records
from experiments.regularization.engine import Program, member_mesh
from experiments.regularization.measures import NUM_BINS, QUANTILES
from experiments.regularization.members import Member
from experiments.regularization.models import MLP
from experiments.regularization.samples import draw_samples
from experiments.regularization.training import make_plan, train_chunk

MEMBER = Member("none", 0.0, 4, 0.1, 0.0, 30, 0)
OPTIONS = records.bound_options(ConfigDict({"delta": 0.05, "sigmas": (0.1,), "num_draws": 5, "ridge": 0.1}))
SCHEDULE = [0, 2, 5]
BY_STEP = {f"{part}_{kind}" for part in ("train", "validation", "test") for kind in ("loss", "error")} | {
    *("gap", "sparsity", "lipschitz_product", "ece", "ntk_drift", "lipschitz_estimate")
}
BY_LAYER = {"sparsities", "one", "frobenius", "spectral", "stable_rank", "effective_rank"}


@pytest.fixture(scope="module")
def run():
    """A small network, its data, and the result of its training."""
    program = Program(MLP(outputs=10, width=4, depth=1), batch_size=10, noise_levels=(0.5, 1.0), num_probes=3)
    samples = draw_samples(load_data(), (30, 20, 20), as_vectors)
    plan = make_plan(program, [MEMBER], samples, member_mesh(jax.devices()[:1]), memory_gib=1.0)
    return program, samples, train_chunk(plan, [MEMBER], samples, SCHEDULE)


def record_of(run, options, program=None):
    return records.member_record(program or run[0], MEMBER, 0, run[2], run[1], SCHEDULE, options)


def test_everything_is_there_at_every_evaluation(run):
    found = record_of(run, None)
    curves = found["curves"]
    assert set(curves) == BY_STEP | BY_LAYER | {"margins", "noisy_errors"}
    assert all(len(curves[name]) == 3 and isinstance(curves[name][0], float) for name in BY_STEP)
    assert found["layers"] == ["Dense_0/kernel", "Dense_1/kernel"]
    lengths = dict.fromkeys(BY_LAYER, 2) | {"margins": len(QUANTILES), "noisy_errors": 2}
    assert all([len(value) for value in curves[name]] == [length] * 3 for name, length in lengths.items())
    assert {name: [len(values) for values in steps] for name, steps in found["spectra"].items()} == dict.fromkeys(
        found["layers"], [4] * 3
    )
    assert set(found["reliability"]) == {"shares", "confidences", "accuracies"}
    assert all([len(bins) for bins in steps] == [NUM_BINS] * 3 for steps in found["reliability"].values())
    assert found["bounds"] == found["measures"] == found["left_out"] == {}


def test_networks_that_have_no_bounds_say_why(run, monkeypatch):
    known = []

    def refuse(*arguments, **options):
        known.append(options["network"])
        raise ValueError("spectral_complexity exceeds 3.4e+38, the range of float32.")

    monkeypatch.setattr(records, "report", refuse)
    gelu = Program(MLP(outputs=10, width=4, depth=1, activation="gelu"), batch_size=10)
    for program in (run[0], gelu):
        found = record_of(run, OPTIONS, program)
        assert found["bounds"] == {}
        assert "exceeds 3.4e+38" in found["left_out"]["everything"]
    # `bounds.report` gets no network if its activation has no norm bounds.
    assert known == ["relu", None]


def test_refusals():
    assert records.bound_options(ConfigDict()) is None
    for changes, sentence in (
        ({"delta": 1.5}, "bounds.delta is 1.5; expected a number between 0 and 1"),
        ({"sigmas": (0.1, -0.1)}, "bounds.sigmas is -0.1; expected a positive finite number"),
        ({"num_draws": 1}, "bounds.num_draws is 1; expected an integer of at least 2"),
        ({"ridge": -1.0}, "bounds.ridge is -1.0; expected a finite number of at least 0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            records.bound_options(ConfigDict(OPTIONS._asdict() | changes))

"""Chunks of members: as many as fit, checkpoints that lead to the same end, padding that does not count."""

import jax
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from experiments.data.images import as_vectors, load_data
from experiments.regularization.engine import Program, member_mesh
from experiments.regularization.members import Member
from experiments.regularization.models import MLP
from experiments.regularization.samples import draw_samples
from experiments.regularization.training import make_plan, train_chunk, use_all_cores

PROGRAM = Program(MLP(outputs=10, width=4, depth=1), batch_size=10)
MEMBERS = [Member("l1", 1e-3, 4, 0.1, 0.0, 50, seed) for seed in range(5)]
SCHEDULE = [0, 5, 12]


@pytest.fixture(scope="module")
def samples():
    return draw_samples(load_data(), (50, 20, 20), as_vectors)


@pytest.fixture(scope="module")
def plan(samples):
    return make_plan(PROGRAM, MEMBERS, samples, member_mesh(jax.devices()[:1]), memory_gib=1.0)


def assert_same(found, expected):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_memory_decides_how_many_are_trained_at_once(plan, samples):
    assert (plan.size, plan.block) == (5, 5)
    assert 0 < plan.peak_bytes < 2**26
    mesh = member_mesh(jax.devices()[:1])
    smaller = make_plan(PROGRAM, MEMBERS, samples, mesh, memory_gib=plan.peak_bytes / 2**30 * 0.7)
    assert 1 <= smaller.size < 5
    assert smaller.peak_bytes < plan.peak_bytes


def test_a_chunk_goes_on_from_its_checkpoint_to_the_same_numbers(plan, samples, tmp_path):
    whole = train_chunk(plan, MEMBERS, samples, SCHEDULE)
    assert whole.history["gap"].shape == (3, 5)
    calls = []

    def stop_at_the_second():
        calls.append(None)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_chunk(plan, MEMBERS, samples, SCHEDULE, tmp_path / "run", stop_at_the_second)
    calls.clear()
    advanced = []

    def watched(*arguments):
        advanced.append(int(arguments[3]))
        return plan.advance(*arguments)

    resumed = train_chunk(
        plan._replace(advance=watched), MEMBERS, samples, SCHEDULE, tmp_path / "run", lambda: calls.append(None)
    )
    assert advanced == [5]
    assert len(calls) == 3
    assert_same(resumed, whole)
    assert_same(train_chunk(plan, MEMBERS, samples, SCHEDULE, tmp_path / "run"), whole)


def test_fewer_members_than_a_chunk_has_places_for(plan, samples):
    whole = train_chunk(plan, MEMBERS, samples, SCHEDULE)
    fewer = train_chunk(plan, MEMBERS[:3], samples, SCHEDULE)
    assert_same(*(jax.tree.map(lambda leaf: leaf[:3], found.last.params) for found in (fewer, whole)))


def test_blocks_and_chunks_leave_few_places_empty(samples):
    mesh = member_mesh(jax.devices()[:1])
    nine = make_plan(PROGRAM, MEMBERS[:1] * 9, samples, mesh, memory_gib=1.0)
    assert (nine.size, nine.block) == (10, 5)
    # Memory for most of them only: two chunks of five, and not nine places and one member.
    fewer = make_plan(PROGRAM, MEMBERS[:1] * 9, samples, mesh, memory_gib=nine.peak_bytes / 2**30 * 0.9)
    assert fewer.size == 5


def test_a_budget_that_one_member_exceeds_is_told(samples, caplog):
    plan = make_plan(PROGRAM, MEMBERS, samples, member_mesh(jax.devices()[:1]), memory_gib=1e-9)
    assert plan.size == 1
    assert "memory_gib is 1e-09; one member per device takes" in caplog.text


def test_classes_are_those_of_all_points():
    few = draw_samples(load_data(), (3, 20, 100), as_vectors)
    assert len(set(few.y_train.tolist())) <= 3
    assert few.num_classes == 10


def test_lapack_has_one_thread_where_every_core_is_a_device():
    def threads():
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    with threadpool_limits(2, user_api="blas"):
        assert threads() == {2}
        use_all_cores()
        assert threads() == {1}

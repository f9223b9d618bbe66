"""Checkpoints on disk: a warning names a damaged one, and the one before it is used."""

import errno
import os
import resource
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from experiments.common.endings import FULL
from experiments.regularization.checkpoints import Checkpoints

LIKE = {"w": jax.ShapeDtypeStruct((40,), np.float32), "step": jax.ShapeDtypeStruct((), np.int32)}


def tree(number):
    return {"w": np.linspace(0, number, 40, dtype=np.float32), "step": np.int32(number)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoints") / "run"
    with Checkpoints(path) as checkpoints:
        for number in range(4):
            checkpoints.save(number, tree(number))
    return path


def restored(path):
    with Checkpoints(path) as checkpoints:
        return checkpoints.latest, checkpoints.restore(LIKE)


def test_the_last_two_are_kept(folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {"2", "2.sha256", "3", "3.sha256"}
    number, found = restored(folder)
    assert number == 3
    np.testing.assert_array_equal(found["w"], tree(3)["w"])


def files_of(folder):
    return sorted(path.relative_to(folder) for path in (folder / "3").rglob("*") if path.is_file())


def damage_of(kind, path):
    content = bytearray(path.read_bytes())
    if kind == "bit":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[:-1] if kind == "short" else content)
    if kind == "lost":
        path.unlink()


@pytest.mark.parametrize("kind", ["bit", "short", "lost"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(folder, tmp_path, caplog, kind):
    """Whichever of its files it is, and its checksum."""
    for number, name in enumerate([*(name for name in files_of(folder) if (folder / name).stat().st_size), "3.sha256"]):
        copy = tmp_path / str(number)
        shutil.copytree(folder, copy)
        damage_of(kind, copy / name)
        files_before = {file.relative_to(copy / "3") for file in (copy / "3").rglob("*")}
        caplog.clear()
        latest, found = restored(copy)
        assert latest == 2, name
        np.testing.assert_array_equal(found["w"], tree(2)["w"])
        reason = "has no checksum" if (kind, name) == ("lost", "3.sha256") else "does not agree with its checksum"
        assert f"checkpoint {copy / '3'} {reason}; it is moved to " in caplog.text
        # Nothing is deleted.
        (aside,) = copy.glob("aside.*/3")
        assert {file.relative_to(aside) for file in aside.rglob("*")} == files_before
        # The place of the damaged one is free again.
        with Checkpoints(copy) as checkpoints:
            checkpoints.save(3, tree(3))
        assert restored(copy)[0] == 3
        shutil.rmtree(copy)


def test_where_all_are_damaged_there_is_none(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    for number in (2, 3):
        (tmp_path / "run" / f"{number}.sha256").write_text("")
    with Checkpoints(tmp_path / "run") as checkpoints:
        assert checkpoints.latest is None


@pytest.mark.parametrize("target", ["2", "nowhere"])
def test_a_link_in_the_place_of_a_checkpoint_is_moved_aside(folder, tmp_path, caplog, target):
    """Also one whose checksum agrees with what it points to."""
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / "4").symlink_to(tmp_path / "run" / target)
    shutil.copy(tmp_path / "run" / "2.sha256", tmp_path / "run" / "4.sha256")
    latest, found = restored(tmp_path / "run")
    assert latest == 3
    np.testing.assert_array_equal(found["w"], tree(3)["w"])
    assert f"checkpoint {tmp_path / 'run' / '4'} is a symbolic link; it is moved to " in caplog.text
    assert [path.is_symlink() for path in (tmp_path / "run").glob("aside.*/*")] == [True]
    with Checkpoints(tmp_path / "run") as checkpoints:
        for number in (4, 5, 6):
            checkpoints.save(number, tree(number))
        assert checkpoints.latest == 6


def test_a_checksum_that_a_kill_left_unfinished_is_removed(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / ".3.sha256.abc.part").write_text("half")
    with Checkpoints(tmp_path / "run") as checkpoints:
        assert checkpoints.latest == 3
    assert not (tmp_path / "run" / ".3.sha256.abc.part").exists()


@pytest.mark.parametrize("number", FULL, ids=errno.errorcode.get)
def test_a_full_disk_is_an_error_of_the_disk(tmp_path, monkeypatch, number):
    with Checkpoints(tmp_path / "run") as checkpoints:

        def full(*_, **__):
            reason = f"{errno.errorcode[number]} {os.strerror(number)}"
            raise ValueError(f"RESOURCE_EXHAUSTED: Error writing: [OS error {number}: {reason}]")

        monkeypatch.setattr(ocp.CheckpointManager, "save", full)
        with pytest.raises(OSError, match=os.strerror(number)) as refusal:
            checkpoints.save(0, tree(0))
        assert refusal.value.errno == number


def test_a_file_that_the_system_keeps_small_is_an_error_of_the_disk(tmp_path):
    """With the error message of Orbax itself."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = np.random.default_rng(0).normal(size=10**5).astype(np.float32)  # 400 kB, also after compression
    with Checkpoints(tmp_path / "run") as checkpoints:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, before[1]))
        try:
            with pytest.raises(OSError, match="File too large") as refusal:
                checkpoints.save(0, {"w": noise})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert refusal.value.errno == errno.EFBIG


def test_other_errors_of_saving_keep_their_type(tmp_path, monkeypatch):
    with Checkpoints(tmp_path / "run") as checkpoints:

        def wrong(*_, **__):
            raise ValueError("no such handler")

        monkeypatch.setattr(ocp.CheckpointManager, "save", wrong)
        with pytest.raises(ValueError, match="no such handler"):
            checkpoints.save(0, tree(0))

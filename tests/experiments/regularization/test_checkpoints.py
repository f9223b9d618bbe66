"""Checkpoints on disk: one that was damaged anywhere is named, and the one before is taken."""

import errno
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

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
        caplog.clear()
        latest, found = restored(copy)
        assert latest == 2, name
        np.testing.assert_array_equal(found["w"], tree(2)["w"])
        assert f"checkpoint {copy / '3'} is damaged: it does not agree with its checksum" in caplog.text
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


def test_a_full_disk_is_an_error_of_the_disk(tmp_path, monkeypatch):
    with Checkpoints(tmp_path / "run") as checkpoints:

        def full(*_, **__):
            raise ValueError("RESOURCE_EXHAUSTED: Error writing: [OS error 28: ENOSPC No space left on device]")

        monkeypatch.setattr(ocp.CheckpointManager, "save", full)
        with pytest.raises(OSError, match="No space left on device") as refusal:
            checkpoints.save(0, tree(0))
        assert refusal.value.errno == errno.ENOSPC

"""The work directory: what a rerun accepts, refuses and repairs, and who else may write there."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from ml_collections import ConfigDict, config_dict

from experiments.common import workdir
from experiments.common.files import write_text
from experiments.common.metrics import MetricsFile
from ntk.saving.files import replacing

ROOT = Path(__file__).parents[3]


def config(**changes):
    fields = {"widths": (8, 16), "seed": 0, "network": {"kind": "MLP", "depth": 3}} | changes
    return ConfigDict(fields | {"data_dir": config_dict.placeholder(str)})


def open_workdir(*arguments, **options):
    """Open it and leave it."""
    with workdir.open_workdir(*arguments, **options) as folder:
        return folder


SAVED = {"widths": [8, 16], "seed": 0, "network": {"kind": "MLP", "depth": 3}, "data_dir": None}


def test_the_same_config_reopens(tmp_path):
    folder = open_workdir(tmp_path / "deep" / "run", config(), data="1a2b")
    assert open_workdir(folder, config(), data="1a2b") == folder
    assert json.loads((folder / "config.json").read_text()) == SAVED | {"data_fingerprint": "1a2b"}
    assert {file.name for file in folder.iterdir()} == {"config.json", ".lock"}
    assert (folder / ".lock").read_bytes() == b""


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seed": 1}, "seed is 1 in this config and 0 in the one that started workdir"),
        ({"widths": (8, 16, 32)}, r"widths is \[8, 16, 32\] in this config and \[8, 16\]"),
        ({"network": {"kind": "MLP", "depth": 4}}, "network.depth is 4 in this config and 3"),
        ({"network": {"kind": "MLP"}}, "network.depth is 'absent' in this config and 3"),
        ({"fresh": 1}, "fresh is 1 in this config and 'absent'"),
    ],
)
def test_another_config_is_refused_by_the_field_that_differs(tmp_path, changes, sentence):
    open_workdir(tmp_path, config())
    saved = (tmp_path / "config.json").read_bytes()
    with pytest.raises(ValueError, match=sentence):
        open_workdir(tmp_path, config(**changes))
    assert (tmp_path / "config.json").read_bytes() == saved


def test_fields_that_may_change_are_taken_over(tmp_path):
    open_workdir(tmp_path, config())
    changed = config(widths=(8, 16, 32), network={"kind": "RNN", "depth": 3})
    with pytest.raises(ValueError, match=r"network.kind is 'RNN' in this config and 'MLP'"):
        open_workdir(tmp_path, changed, may_change=("widths",))
    open_workdir(tmp_path, changed, may_change=("widths", "network.kind"))
    saved = json.loads((tmp_path / "config.json").read_text())
    changes = {"widths": [8, 16, 32], "network": {"kind": "RNN", "depth": 3}, "data_fingerprint": None}
    assert saved == SAVED | changes
    with pytest.raises(ValueError, match=r"widths is \[8, 16\] in this config and \[8, 16, 32\]"):
        open_workdir(tmp_path, config(network={"kind": "RNN", "depth": 3}))


@pytest.mark.parametrize(
    ("name", "reason"),
    [("file", "File exists"), ("file/run", "Not a directory"), (300 * "a", "File name too long")],
)
def test_a_folder_that_cannot_be_made_is_named(tmp_path, name, reason):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=f"--workdir is '{tmp_path / name}', which cannot be used \\({reason}\\)"):
        open_workdir(tmp_path / name, config())


def test_a_broken_config_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="is not a configuration"):
        open_workdir(tmp_path, config())


@pytest.mark.parametrize("other", ["3c4d", None])
def test_other_data_are_refused_wherever_they_lie(tmp_path, other):
    open_workdir(tmp_path, config(), data="1a2b")
    sentence = f"the data have the fingerprint {other} and those that started workdir '.*' have 1a2b; choose another"
    with pytest.raises(ValueError, match=sentence):
        open_workdir(tmp_path, config(), data=other, may_change=("data_dir",))


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoints"])
def test_results_without_their_config_are_refused(tmp_path, name):
    (tmp_path / name).mkdir() if name == "checkpoints" else (tmp_path / name).write_text('{"width": 8}\n')
    with pytest.raises(ValueError, match=f"has {name} and no config.json, so its run is unknown; put its"):
        open_workdir(tmp_path, config())
    assert not (tmp_path / "config.json").exists()


WRITER = """
import sys
from ml_collections import ConfigDict
from experiments.common.workdir import open_workdir
with open_workdir(sys.argv[1], ConfigDict({"seed": 0})):
    print("open", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_told_who_the_first_one_is(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as first:
        assert first.stdout.readline() == b"open\n"
        sentence = (
            rf"--workdir is '{tmp_path}', and process {first.pid} on {platform.node()} has been writing there since "
            r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(-c .*\); wait until it has ended, or choose another --workdir"
        )
        with pytest.raises(ValueError, match=sentence):
            open_workdir(tmp_path, ConfigDict({"seed": 0}))
        first.kill()
    # A killed process leaves no lock.
    open_workdir(tmp_path, ConfigDict({"seed": 0}))


def test_two_writers_in_one_process(tmp_path):
    with (
        workdir.open_workdir(tmp_path, config()),
        pytest.raises(ValueError, match=f"process {os.getpid()} on"),
        workdir.open_workdir(tmp_path, config()),
    ):
        pass


def test_links_are_not_followed(tmp_path):
    other, folder = tmp_path / "other", tmp_path / "run"
    other.write_text("precious")
    folder.mkdir()
    for name in ("config.json.part", "summary.md"):
        (folder / name).symlink_to(other)
    open_workdir(folder, config())
    write_text(folder / "summary.md", "A table.")
    assert other.read_text() == "precious"
    assert not (folder / "summary.md").is_symlink()
    for name in ("metrics.jsonl", "checkpoints", ".lock"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(other)
        with pytest.raises(ValueError, match=f"{name} is a symbolic link, and a run does not write through links"):
            open_workdir(folder, config())
        (folder / name).unlink()
    assert other.read_text() == "precious"


def test_files_are_whole_or_not_there(tmp_path):
    path = tmp_path / "summary.md"
    write_text(path, "first")

    def stopped_halfway():
        with replacing(path) as one, replacing(path) as two:
            assert one != two
            one.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped_halfway()
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]
    # The file has the permissions of any other new file.
    (tmp_path / "plain").write_text("")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_a_kill_left_unfinished_is_removed(tmp_path):
    open_workdir(tmp_path, config())
    (tmp_path / ".summary.md.abc.part").write_text("half")
    (tmp_path / "notes.part").write_text("mine")
    open_workdir(tmp_path, config())
    assert {file.name for file in tmp_path.iterdir()} == {"config.json", ".lock", "notes.part"}


def test_metrics_survive_a_kill_at_every_byte(tmp_path):
    records = [{"width": 8, "ntk": [0.1, 1 / 3]}, {"width": 16, "ntk": [2.5e-8, 1.0], "symbol": "Θ"}]
    whole = MetricsFile(tmp_path / "whole.jsonl")
    for record in records:
        whole.append(record)
    content = whole.path.read_bytes()
    assert MetricsFile(whole.path).records == records
    first = content.index(b"\n") + 1
    for size in range(len(content)):
        path = tmp_path / "killed.jsonl"
        path.write_bytes(content[:size])
        resumed = MetricsFile(path)
        survivors = 0 if size < first else 1
        assert resumed.records == records[:survivors]
        for record in records[survivors:]:
            resumed.append(record)
        assert path.read_bytes() == content


@pytest.mark.parametrize("line", [b"{oops\n", b"3\n", b"\n", b"\xff\n"])
def test_a_damaged_whole_line_is_named(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"width": 8}\n' + line + b'{"width": 16}\n')
    with pytest.raises(ValueError, match=r"line 2 of .*metrics.jsonl is not a JSON object"):
        MetricsFile(path)


def test_no_nan_in_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        MetricsFile(tmp_path / "metrics.jsonl").append({"ntk": float("nan")})

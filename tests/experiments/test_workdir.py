"""The work directory: what a rerun accepts, refuses and repairs."""

import json

import pytest
from ml_collections import ConfigDict, config_dict

from experiments.metrics import MetricsFile
from experiments.workdir import open_workdir


def config(**changes):
    fields = {"widths": (8, 16), "seed": 0, "network": {"kind": "MLP", "depth": 3}} | changes
    return ConfigDict(fields | {"data_dir": config_dict.placeholder(str)})


def test_the_same_config_reopens(tmp_path):
    folder = open_workdir(tmp_path / "deep" / "run", config())
    assert open_workdir(folder, config()) == folder
    saved = json.loads((folder / "config.json").read_text())
    assert saved == {"widths": [8, 16], "seed": 0, "network": {"kind": "MLP", "depth": 3}, "data_dir": None}
    assert [file.name for file in folder.iterdir()] == ["config.json"]


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
    assert saved == {"widths": [8, 16, 32], "seed": 0, "network": {"kind": "RNN", "depth": 3}, "data_dir": None}
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

"""Ctrl-C, SIGTERM and a full disk: one sentence, a status, and nothing half written."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from experiments.common import environment, script, workdir
from experiments.common.endings import FULL, end_in_a_sentence

ROOT = Path(__file__).parents[3]
# The main thread stays in C and does not return to Python, as in a compiled program.
BUSY = """
import ctypes, pathlib, sys
from experiments.common.endings import end_in_a_sentence
with end_in_a_sentence(pathlib.Path("runs/a"), "the same command goes on"):
    print("busy", flush=True)
    {busy}
"""
IN_C = "ctypes.CDLL(None).poll(None, 0, 60_000); raise SystemExit(3)"
IN_PYTHON = "import time; time.sleep(60)"


@pytest.mark.parametrize("busy", [IN_C, IN_PYTHON], ids=["c", "python"])
@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_ends_a_run_at_once_in_one_sentence(number, name, busy):
    command = [sys.executable, "-c", BUSY.format(busy=busy)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True) as process:
        assert process.stdout.readline() == "busy\n"
        process.send_signal(number)
        _, printed = process.communicate(timeout=10)
    assert process.returncode == 128 + number
    assert printed == f"\nStopped by {name}; the same command goes on in 'runs/a'.\n"


def test_signals_are_as_before_afterwards():
    before = signal.getsignal(signal.SIGINT)
    with end_in_a_sentence(Path("run"), "go on"):
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize("number", FULL, ids=errno.errorcode.get)
def test_a_disk_that_takes_no_more_is_one_sentence(number):
    reason = os.strerror(number)
    sentence = rf"The disk of --workdir 'runs/a' is full \({reason}\); free some space, and the same command goes on"
    with pytest.raises(SystemExit, match=sentence), end_in_a_sentence(Path("runs/a"), "the same command goes on"):
        raise OSError(number, reason)


@pytest.mark.parametrize("number", FULL, ids=errno.errorcode.get)
@pytest.mark.parametrize("module", [workdir, environment], ids=["config", "environment"])
def test_a_disk_that_is_full_when_a_folder_is_opened_is_the_same_sentence(tmp_path, monkeypatch, module, number):
    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, "write_text", full)
    sentence = rf"The disk of --workdir '{tmp_path}' is full \({os.strerror(number)}\); free some space, and go on"
    with (
        pytest.raises(SystemExit, match=sentence),
        end_in_a_sentence(tmp_path, "go on"),
        script.opened(tmp_path, ConfigDict()),
    ):
        pytest.fail("opened on a full disk")


def test_other_errors_keep_their_trace():
    with pytest.raises(PermissionError), end_in_a_sentence(Path("runs/a"), "the same command goes on"):
        raise PermissionError(errno.EACCES, "no")


FULL = """
import sys
from pathlib import Path
from experiments.common.endings import end_in_a_sentence
from experiments.common.files import write_text
from experiments.common.metrics import MetricsFile
folder = Path(sys.argv[1])
write_text(folder / "summary.md", "first")
try:
    with end_in_a_sentence(folder, "the same command goes on"):
        metrics = MetricsFile(folder / "metrics.jsonl")
        while True:
            metrics.append({"number": len(metrics.records), "text": 1000 * "a"})
except SystemExit as end:
    print(end)
try:
    write_text(folder / "summary.md", 10**5 * "second")
except OSError as error:
    print(error.strerror)
print((folder / "summary.md").read_text(), [file.name for file in folder.glob(".*")])
numbers = [record["number"] for record in MetricsFile(folder / "metrics.jsonl").records]
assert numbers == list(range(len(numbers))) and len(numbers) > 10
"""


def test_a_full_disk_leaves_whole_files(tmp_path):
    """A disk of 64 KiB in its own mount namespace."""
    (tmp_path / "full.py").write_text(FULL)
    (tmp_path / "disk").mkdir()
    shell = (
        f"mount -t tmpfs -o size=64k none {tmp_path}/disk || exit 77;"
        f"exec {sys.executable} {tmp_path}/full.py {tmp_path}/disk"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    try:
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", shell]
        run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if "mount" in run.stderr or "unshare" in run.stderr:
        pytest.skip("this system gives users no name spaces")
    assert run.returncode == 0, run.stderr
    assert run.stdout == (
        f"The disk of --workdir '{tmp_path}/disk' is full (No space left on device); free some space, and the"
        " same command goes on.\nNo space left on device\nfirst []\n"
    )

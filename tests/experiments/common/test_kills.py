"""A run that is killed ten times, at every stage, ends with the files of an uninterrupted run, byte for byte."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
KILLS = 10
RUNS = {
    "training_dynamics": {
        "config.parameterizations": "ntk,mup",
        "config.widths": "8,16",
        "config.num_seeds": 2,
        "config.num_train": 8,
        "config.num_test": 6,
        "config.steps": 20,
        "config.directions": "0,3",
        "config.num_resamples": 50,
    },
    "kernel_regression": {
        "config.sizes": "8,16",
        "config.evidence_size": 8,
        "config.num_test": 10,
        "config.evidence_steps": 3,
        "config.finite.width": 16,
        "config.finite.num_seeds": 2,
        "config.finite.steps": 10,
    },
    "gia": {"config.num_inputs": 2, "config.widths": "8,16", "config.num_seeds": 4, "config.samples": 512},
    "random_labels": {
        "config.fractions": "0,1",
        "config.widths": "2,4",
        "config.num_seeds": 1,
        "config.num_train": 60,
        "config.steps": 50,
        "config.task.width": 16,
    },
}
# Fewer networks need a config of their own, since a flag can change a field but not remove one.
CONFIG = """
from configs import {name}
def get_config():
    config = {name}.get_config()
    if "networks" in config:
        config.networks = {{label: {{"kind": "MLP", "depth": depth}} for depth, label in enumerate("abc", 1)}}
        config.finite.networks = ("a", "b")
    return config
"""


def start(name, workdir, stderr=subprocess.DEVNULL):
    """The script in a process of its own."""
    config = workdir.with_name("config.py")
    config.write_text(CONFIG.format(name=name))
    fields = [f"--{field}={value}" for field, value in RUNS[name].items()]
    command = [sys.executable, "-m", f"experiments.{name}", f"--config={config}", f"--workdir={workdir}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": stderr}
    return subprocess.Popen([*command, *fields], cwd=ROOT, env=os.environ | {"JAX_PLATFORMS": "cpu"}, **quiet)


def outputs(workdir):
    """All files of a run except environment.json, which names a checkout that may change in the meantime."""
    files = {file.name: file.read_bytes() for file in workdir.iterdir() if file.name != "environment.json"}
    files["summary.md"] = files["summary.md"].partition(b"\n\nMade by")[0]
    return files


def written_at(path):
    return path.stat().st_mtime_ns if path.exists() else None


def wait_until_open(process, workdir):
    """Wait until it holds the lock of its folder."""
    before = written_at(workdir / ".lock")
    while process.poll() is None and written_at(workdir / ".lock") == before:
        time.sleep(0.002)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_was_killed_ten_times_ends_like_one_that_was_not(name, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(name, whole)
    wait_until_open(process, whole)
    opened = time.monotonic()
    assert process.wait() == 0
    working = time.monotonic() - opened
    rng, kills, ends = np.random.default_rng(0), 0, 0
    # Those that come to their end are held against the other and begin anew; so does the last one.
    while kills < KILLS or not ends:
        process = start(name, killed)
        if kills < KILLS:
            wait_until_open(process, killed)
            # Kills are spread from the moment when the folder is made to the last figure.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0, working))
            process.kill()
        if process.wait() == 0:
            assert outputs(killed) == outputs(whole)
            shutil.rmtree(killed)
            ends += 1
        else:
            assert process.returncode == -signal.SIGKILL
            kills, ends = kills + 1, 0


@pytest.mark.slow
def test_a_script_that_is_asked_to_stop_says_how_to_go_on(tmp_path):
    process = start("gia", tmp_path / "run", stderr=subprocess.PIPE)
    wait_until_open(process, tmp_path / "run")
    process.terminate()
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    sentence = f"Stopped by SIGTERM; the same command goes on with what is finished in '{tmp_path / 'run'}'."
    assert printed.decode().splitlines()[-1] == sentence
    assert b"Traceback" not in printed

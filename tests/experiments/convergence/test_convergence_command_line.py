"""The experiment from its command line: a whole run, and refusals in one sentence."""

import pytest
from small_runs import ROOT, command_line, contents_of, names_of_files

SMALL = {"widths": "8,16", "num_seeds": 3, "num_inputs": 4, "num_resamples": 100}


def test_the_command_line(tmp_path):
    run = command_line(
        "kernel_convergence",
        f"--config={ROOT}/configs/convergence_mlp_erf.py",
        f"--workdir={tmp_path}",
        "--config.network.depth=1",
        "--config.reference=neural_tangents",
        *(f"--config.{name}={value}" for name, value in SMALL.items()),
    )
    assert run.status == 0, run.said
    assert set(contents_of(tmp_path)) == names_of_files("convergence") | {"summary.csv"}
    assert "against neural-tangents (Θ, NNGP) and the recursion (C, D)" in run.printed
    assert "Slope of Θ's error: " in run.printed
    # A progress bar.
    assert "measurements: 100%" in run.said


CONFIG = "--config=configs/convergence_rnn_last.py"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((CONFIG, "--config.num_inputs=0"), "num_train is 0; expected an integer of at least 1."),
        (
            (CONFIG, "config.network.depth=5"),
            "'config.network.depth=5' is not a flag; expected --NAME=VALUE, as in --config.network.depth=5.",
        ),
        (
            ("--config=configs/nowhere.py",),
            "--config is 'configs/nowhere.py', which cannot be read; expected a file such as "
            "configs/convergence_mlp_relu.py.",
        ),
        (
            (CONFIG, "--config.network.depth", "3"),
            "--config.network.depth is not a field of configs/convergence_rnn_last.py; expected one of confidence, ",
        ),
        ((CONFIG, "--config.seed.foo=3"), "--config.seed.foo is not a field of configs/convergence_rnn_last.py; "),
    ],
)
def test_the_command_line_refuses_in_one_sentence(arguments, sentence, tmp_path):
    run = command_line("kernel_convergence", *arguments, f"--workdir={tmp_path}/run")
    assert run.status == 1
    assert run.said.startswith(sentence)
    assert run.said.count("\n") == 1
    assert not (tmp_path / "run").exists()

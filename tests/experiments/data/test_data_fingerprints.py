"""A folder that was started with other data is refused by every script that reads data."""

import importlib

import pytest

from experiments import gia
from experiments.common.workdir import open_workdir

SCRIPTS = {
    "benchmark_sweep": "benchmark_sweep",
    "generalization_bounds": "generalization_bounds",
    "gia": "gia",
    "kernel_convergence": "convergence_mlp_relu",
    "kernel_regression": "kernel_regression",
    "random_labels": "random_labels",
    "regularization_sweep": "regularization_sweep",
    "training_dynamics": "training_dynamics",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_other_data_are_refused(name, tmp_path, monkeypatch):
    config = importlib.import_module(f"configs.{SCRIPTS[name]}").get_config()
    # Limits are computed before the folder is opened.
    monkeypatch.setattr(gia, "limits_of", lambda *_: {})
    with open_workdir(tmp_path, config, data="1a2b"):
        pass
    main = importlib.import_module(f"experiments.{name}").main
    with pytest.raises(
        SystemExit, match=r"the data have the fingerprint [0-9a-f]{16} and those that started workdir .*1a2b"
    ):
        main(config, tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()

"""Classifiers on small UCI sets: the kernels against the library's own, the protocol against scikit-learn."""

import numpy as np
from refusals import assert_refused, rows
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC
from small_runs import command_line, records_of, small_config
from tolerances import CLOSED_FORM

import ntk
from experiments.published import uci
from experiments.published.uci_sets import uci_sets

CONFIG = small_config({"max_points": 160, "families": ("NTK", "NTK, ridge")}, "published_uci")


def test_kernels_are_those_of_the_layers_that_are_trained():
    x = np.random.default_rng(0).normal(size=(5, 3))
    found = uci.partly_trained("relu", x)
    assert len(found) == 1 + 2 + 3 + 4 + 5
    for depth, fixed in ((0, 0), (1, 0), (1, 1), (4, 0), (4, 3), (4, 4)):
        net = ntk.MLP(depth=depth, w_std=1.0, b_std=0.0)
        moving = ["params/v", *(f"params/w{layer}" for layer in range(fixed + 1, depth + 1))]
        expected = ntk.infinite_ntk(net, x * 3**0.5, trained=moving)
        np.testing.assert_allclose(found[f"{depth} layers, {fixed} fixed"], expected, rtol=CLOSED_FORM["float64"])


def test_the_choice_is_made_on_the_validation_half_alone():
    record = uci.measure(("iris", "NTK"), CONFIG)
    data = uci_sets("", 160)["iris"]
    kernels = uci.partly_trained("relu", data.x)

    def accuracy(name, C, held_out):
        """By scikit-learn's own cutting of kernel matrices."""
        svc, split = SVC(kernel="precomputed", C=C), (np.flatnonzero(~held_out), np.flatnonzero(held_out))
        return cross_val_score(svc, kernels[name], data.y, cv=[split])[0]

    best = max(
        accuracy(name, C, data.validation) for name in ("0 layers, 0 fixed", "2 layers, 1 fixed") for C in (1, 100)
    )
    assert accuracy(record["kernel"], record["weight"], data.validation) >= best
    expected = [accuracy(record["kernel"], record["weight"], test) for test in data.test]
    np.testing.assert_allclose(record["accuracies"], expected, rtol=CLOSED_FORM["float64"])


def test_ridge_classifies_by_the_largest_output():
    """With a large weight it interpolates: every training point gets its label."""
    data = uci_sets("", 160)["iris"]
    kernel = uci.partly_trained("relu", data.x)["2 layers, 0 fixed"] + 1e-3 * np.eye(150)
    np.testing.assert_array_equal(uci.ridge(kernel, kernel, data.y, 1e6), data.y)


def test_a_run_leaves_its_files_and_resumes(tmp_path):
    arguments = ("published", "--config=configs/published_uci.py", f"--workdir={tmp_path}")
    small = ("--config.max_points=160", "--config.families=('NTK', 'NNGP')")
    assert command_line(*arguments, *small).status == 0
    assert {"summary.md", "uci.png", "uci.pdf", "config.json"} <= {file.name for file in tmp_path.iterdir()}
    records = records_of(tmp_path)
    assert [(record["set"], record["family"]) for record in records] == [("iris", "NTK"), ("iris", "NNGP")]
    (tmp_path / "summary.md").unlink()
    assert command_line(*arguments, *small).status == 0
    assert records_of(tmp_path) == records
    assert "NTK: mean accuracy" in (tmp_path / "summary.md").read_text()


@rows(
    [
        (
            "a family",
            lambda: uci.check_config(small_config({"families": ("x",)}, "published_uci")),
            ValueError,
            "families",
        ),
        (
            "points",
            lambda: uci.check_config(small_config({"max_points": 0}, "published_uci")),
            ValueError,
            "max_points",
        ),
    ]
)
def test_refusals(call, exception, sentence):
    assert_refused(call, exception, sentence)

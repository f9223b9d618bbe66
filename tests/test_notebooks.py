"""Every notebook runs from top to bottom, and is the same as the script beside it."""

import sys
from pathlib import Path

import jupytext
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path):
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.slow
def test_the_first_notebook_runs_at_small_widths(plain, monkeypatch):
    """Its script runs in this process, which saves the start of a kernel."""
    (path,) = (path for path in NOTEBOOKS if path.stem == "quickstart")
    source, large = path.with_suffix(".py").read_text(encoding="utf-8"), "widths = 2 ** np.arange(5, 11)"
    assert source.count(large) == 1
    monkeypatch.setitem(sys.modules, "ntk", plain)
    figures = []
    monkeypatch.setattr(plt, "show", lambda: figures.append(plt.gcf()))
    names = {"__name__": "__main__"}
    exec(compile(source.replace(large, "widths = 2 ** np.arange(5, 7)"), path.stem, "exec"), names)
    assert [len(figure.axes) for figure in figures] == [4, 2]  # two kernels with their colour bars; errors of C and D
    plt.close("all")
    assert np.all(names["slopes"] < 0)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_its_script(path):
    notebook, script = nbformat.read(path, as_version=4), jupytext.read(path.with_suffix(".py"))
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in script.cells]

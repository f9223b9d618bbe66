"""Every notebook runs from top to bottom, and is the same as the script beside it."""

from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


def figures(path, notebook):
    """Run the cells in the folder of the notebook; the figures that they show."""
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    return [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path):
    assert figures(path, nbformat.read(path, as_version=4))


def test_the_first_notebook_runs_at_small_widths():
    (path,) = (path for path in NOTEBOOKS if path.stem == "quickstart")
    notebook = nbformat.read(path, as_version=4)
    large = "widths = 2 ** np.arange(5, 11)"
    (cell,) = (cell for cell in notebook.cells if large in cell.source)
    cell.source = cell.source.replace(large, "widths = 2 ** np.arange(5, 7)")
    assert figures(path, notebook)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_its_script(path):
    notebook, script = nbformat.read(path, as_version=4), jupytext.read(path.with_suffix(".py"))
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in script.cells]

"""The Python blocks of every page run in order, in a fresh session; pages with prompts are doctests."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks_of(page):
    """First lines and texts of the blocks that are written without prompts."""
    text = page.read_text(encoding="utf-8")
    blocks = re.finditer(r"^```python\n(.*?)^```$", text, re.M | re.S)
    found = [(text.count("\n", 0, match.start(1)), match[1]) for match in blocks]
    return [(line, block) for line, block in found if not block.startswith(">>>")]


PLAIN = [page for page in PAGES if blocks_of(page)]


def test_the_readme_has_blocks():
    assert PAGES[0] in PLAIN


def source_of(page):
    """All blocks, on the lines that they have in the page, so that an error names its line."""
    lines = [""] * len(page.read_text(encoding="utf-8").splitlines())
    for line, block in blocks_of(page):
        lines[line : line + block.count("\n")] = block.splitlines()
    return "\n".join(lines)


def test_the_block_of_the_readme_runs():
    """In this process, which saves the start of another one."""
    names = {"__name__": "__main__"}
    exec(compile(source_of(PAGES[0]), PAGES[0].name, "exec"), names)
    assert names["limit"].ntk.shape == (100, 100)
    assert names["outputs"].shape == (3, 100)
    assert names["k"].ntk.shape == (10, 10)


@pytest.mark.slow
@pytest.mark.parametrize("page", PLAIN, ids=lambda page: page.name)
def test_blocks_run_in_order_in_a_fresh_session(page, tmp_path):
    session = f"exec(compile({source_of(page)!r}, {page.name!r}, 'exec'), {{'__name__': '__main__'}})"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    command = [sys.executable, "-c", session]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr

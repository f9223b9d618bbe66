"""The numbers of docs/theory.md, and the docstrings that cite them."""

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "theory.md").read_text(encoding="utf-8")
NUMBERS = [tuple(map(int, tag)) for tag in re.findall(r"\\tag\{(\d+)\.(\d+)\}", PAGE)]
# "theory.md 8.1", "theory.md 8.1 to 8.3", "theory.md 8.1, 8.3 and 8.5".
CITATION = re.compile(r"theory\.md (\d+\.\d+(?:(?:,| to| and| or|, and) (?:\d+\.\d+))*)")
PACKAGES = ("ntk", "bounds", "experiments")


def docstrings(package: str) -> Iterator[tuple[str, str]]:
    """The place and the text, on one line, of every docstring of a package."""
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node) or ""
                yield f"{path.relative_to(ROOT)}: {getattr(node, 'name', 'module')}", " ".join(text.split())


def cited(text: str) -> list[tuple[int, int]]:
    """The numbers that a docstring cites, those within ranges included."""
    found = []
    for numbers in CITATION.findall(text):
        end = None
        for joint, section, number in re.findall(r"( to )?(\d+)\.(\d+)", numbers):
            first = (int(section), int(number))
            if joint:
                assert end is not None
                assert end[0] == first[0], numbers
                found += [(first[0], k) for k in range(end[1] + 1, first[1])]
            found.append(first)
            end = first
    return found


def test_citations_are_read():
    assert cited("x (theory.md 8.1 to 8.3; theory.md 9.2) and theory.md 1.1, 1.3 and 2.1.") == [
        *[(8, 1), (8, 2), (8, 3), (9, 2)],
        *[(1, 1), (1, 3), (2, 1)],
    ]


def test_numbers_are_unique_and_in_order():
    sections = [int(number) for number in re.findall(r"^## (\d+)\. ", PAGE, flags=re.MULTILINE)]
    assert sections == list(range(1, len(sections) + 1))
    # From one number to the next, either the second part grows by one, or a new section begins with 1.
    for (section, number), following in itertools.pairwise(NUMBERS):
        assert following in ((section, number + 1), (section + 1, 1))
    assert NUMBERS[0] == (1, 1)
    # Every number stands in its own section.
    for section, text in enumerate(re.split(r"^## \d+\. ", PAGE, flags=re.MULTILINE)):
        assert {int(tag) for tag in re.findall(r"\\tag\{(\d+)\.", text)} <= {section}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_number_that_is_cited_exists(package):
    wrong = {place: number for place, text in docstrings(package) for number in cited(text) if number not in NUMBERS}
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_the_page_is_cited_by_number(package):
    """Each mention of the page is followed by the number of an equation, or by a section."""
    wrong = [
        place
        for place, text in docstrings(package)
        if text.count("theory.md") != len(re.findall(r"theory\.md (?:\d+\.\d+|sections? \d+)", text))
    ]
    assert not wrong


@pytest.mark.parametrize("package", ["ntk", "bounds"])
def test_no_other_page_is_cited(package):
    assert not [place for place, text in docstrings(package) if re.search(r"\bTHEORY\b", text)]


@pytest.mark.parametrize(("packages", "sections"), [(("ntk", "bounds"), range(1, 8)), (("bounds",), range(8, 15))])
def test_every_equation_is_cited(packages, sections):
    found = {number for package in packages for _, text in docstrings(package) for number in cited(text)}
    assert [number for number in NUMBERS if number[0] in sections and number not in found] == []

"""Every public result says what each of its fields holds, and of arrays the shape."""

import dataclasses
import inspect
import re

import pytest

import bounds
import ntk

HOMES = (ntk, ntk.dynamics, ntk.programs, bounds)
# Functions, trees and keys have no shape; an activation is not an array.
WITHOUT_SHAPE = {"fn", "dual_map", "dual_derivative_map", "activation", "params", "solver", "key", "matrices"}
ARRAY = re.compile(r"Array|ndarray|Any\b")
SHAPE = re.compile(r"\((\*?[A-Za-z0-9·…+]+'?, ?)*(\*?[A-Za-z0-9·…+]+'?)?,?\)|scalar")


def fields_of(cls):
    return [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else cls._fields


RESULTS = {
    f"{home.__name__}.{name}": cls
    for home in HOMES
    for name, cls in vars(home).items()
    if inspect.isclass(cls) and (dataclasses.is_dataclass(cls) or hasattr(cls, "_fields"))
}


def test_the_results_are_found():
    assert {"ntk.Kernels", "ntk.dynamics.Trajectory", "ntk.programs.ProgramKernels", "bounds.Report"} <= set(RESULTS)


@pytest.mark.parametrize("cls", RESULTS.values(), ids=RESULTS)
def test_each_field_is_described_with_its_shape(cls):
    annotations = {
        name: str(kind)
        for base in reversed(cls.__mro__)
        for name, kind in vars(base).get("__annotations__", {}).items()
    }
    described = dict(re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", inspect.getdoc(cls), re.M))
    assert set(fields_of(cls)) <= set(described)
    for name in fields_of(cls):
        if ARRAY.search(annotations[name]) and name not in WITHOUT_SHAPE:
            assert SHAPE.search(described[name]), f"{name}: {described[name]}"

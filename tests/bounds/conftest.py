"""What tests of refusals need."""

import importlib
import sys

import pytest


@pytest.fixture(scope="module")
def plain_bounds():
    """The modules of `bounds` as users import them: without checks of annotations, which would refuse before they can.

    A function from some of their names to a dictionary of them.
    """

    def load(*names):
        hooked = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "bounds"}
        try:
            return {name: importlib.import_module(f"bounds.{name}") for name in names}
        finally:
            sys.modules.update(hooked)

    return load

"""Signatures of overloads agree with the functions."""

import ast
import inspect
from itertools import groupby

from ntk import readings


def defaults(function):
    """The keyword arguments with their defaults, as they are written."""
    return {
        argument.arg: default and ast.unparse(default)
        for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    }


def test_overloads_state_the_defaults_of_the_function_itself():
    """Read in the source: an overload is nothing at run time."""
    functions = [node for node in ast.parse(inspect.getsource(readings)).body if isinstance(node, ast.FunctionDef)]
    overloaded = [list(group) for _, group in groupby(functions, key=lambda function: function.name)]
    overloaded = [group for group in overloaded if len(group) > 1]
    assert len(overloaded) == 4
    for *overloads, function in overloaded:
        for overload in overloads:
            assert defaults(overload).items() <= defaults(function).items(), function.name

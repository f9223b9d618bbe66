"""No version of JAX may cost a rule its speed: what is read of the model zoo is what is written down."""

from collections import defaultdict

import pytest
from model_zoo import ZOO
from zoo_rules import RULES

import ntk


def explained(name, method):
    """Of every leaf its rules and uses, as (rule, uses) pairs."""
    f, params, x1, x2 = ZOO[name]()
    found = defaultdict(set)
    for row in ntk.explain_empirical(f, params, x1, x2, method=method).rows:
        for path in row.parameters:
            found[path].add((row.rule, ", ".join(sorted(row.uses))))
    return found


@pytest.mark.parametrize("name", ZOO)
def test_every_leaf_has_the_rule_that_is_written_down(name):
    automatic, layerwise = explained(name, "auto"), explained(name, "layerwise")
    rules = defaultdict(list)
    for path, found in automatic.items():
        ((rule,), (uses,)) = {rule for rule, _ in found}, {uses for _, uses in layerwise[path]}
        rules[f"{rule}: {uses}" if uses else rule].append(path)
    assert {rule: sorted(paths) for rule, paths in rules.items()} == RULES[name]

"""The rules of all parameters of the model zoo are written down, so that no version of JAX loses a fast rule."""

from collections import defaultdict

import jax
import pytest
from model_zoo import ZOO
from zoo_rules import RULES

import ntk


def explained(model, method):
    """The (rule, uses) pairs of every leaf. They are read from shapes alone, so that nothing is compiled."""
    found = defaultdict(set)

    def explain(params, x1, x2):
        for row in ntk.explain_empirical(model.f, params, x1, x2, method=method).rows:
            for path in row.parameters:
                found[path].add((row.rule, ", ".join(sorted(row.uses))))

    jax.eval_shape(explain, *model[1:])
    return found


@pytest.mark.parametrize("name", ZOO)
def test_every_leaf_has_the_rule_that_is_written_down(name):
    model = ZOO[name]()
    automatic, layerwise = explained(model, "auto"), explained(model, "layerwise")
    rules = defaultdict(list)
    for path, found in automatic.items():
        ((rule,), (uses,)) = {rule for rule, _ in found}, {uses for _, uses in layerwise[path]}
        rules[f"{rule}: {uses}" if uses else rule].append(path)
    assert {rule: sorted(paths) for rule, paths in rules.items()} == RULES[name]
    # Where a leaf is used linearly, its part is made of Gram matrices if they are asked for.
    assert {rule for found in layerwise.values() for rule, uses in found if uses} <= {"gram"}
    assert {rule for found in layerwise.values() for rule, uses in found if not uses} <= {"jacobian", "constant"}

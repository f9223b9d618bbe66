"""The grid of members: how many, in which programs, with which strengths; refusals."""

import pytest
from ml_collections import ConfigDict

from experiments.regularization.members import Shape, as_arrays, grid

FIELDS = {
    "regularizers": {"none": (0.0,), "elastic_net": (0.1, 0.3), "nuclear": (0.2,), "spectral": (0.2,)}
    | {"spectral_norm": (2.0,)},
    "widths": (4, 8),
    "learning_rates": (0.1, 0.2),
    "label_noise": (0.0, 0.5, 1.0),
    "train_sizes": (30,),
    "num_seeds": 2,
    "seed": 7,
}


def test_every_combination_is_a_member_once():
    groups = grid(ConfigDict(FIELDS))
    places = 2 * 3 * 2  # of rates, noise and seeds
    plain, shrunk, normalized = ("plain", False), ("plain", True), ("spectral_norm", False)
    sizes = {plain: 3 * places, shrunk: 2 * places, normalized: places}
    assert {shape: len(members) for shape, members in groups.items()} == {
        Shape(width, *rest): size for width in (4, 8) for rest, size in sizes.items()
    }
    everyone = [member for members in groups.values() for member in members]
    assert len(set(everyone)) == len(everyone)
    assert {member.seed for member in everyone} == {7, 8}


def test_strengths_are_those_of_their_regularizer():
    members = [member for members in grid(ConfigDict(FIELDS)).values() for member in members]
    found = as_arrays(members, "float64")
    for index, member in enumerate(members):
        half = member.strength / 2 if member.regularizer == "elastic_net" else 0.0
        assert (found.strengths.l1[index], found.strengths.l2[index]) == (half, half)
        assert found.strengths.nuclear[index] == (0.2 if member.regularizer == "nuclear" else 0.0)
        assert found.gain[index] == (2.0 if member.regularizer == "spectral_norm" else 1.0)
        assert found.strengths.spectral[index] == (0.2 if member.regularizer == "spectral" else 0.0)
        assert found.dropout[index] == 0.0
        assert found.label_noise[index] == member.label_noise


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"regularizers": {}}, r"regularizers is \(\); expected at least one value, each of them once"),
        ({"regularizers": {"l3": (0.1,)}}, "regularizers is 'l3'; expected one of 'none', 'l1'"),
        ({"regularizers": {"l1": (0.1, 0.1)}}, r"regularizers.l1 is \(0.1, 0.1\); expected at least one value, each"),
        ({"regularizers": {"l1": (-0.1,)}}, r"regularizers.l1 holds -0.1; expected strengths in \[0, inf\)"),
        ({"regularizers": {"none": (0.0, 1.0)}}, r"regularizers.none is \(0.0, 1.0\); expected \(0.0,\), since it has"),
        ({"regularizers": {"dropout": (1.0,)}}, r"regularizers.dropout holds 1.0; expected strengths in \[0, 1\)"),
        ({"regularizers": {"spectral_norm": (0.0,)}}, r"spectral_norm holds 0.0; expected strengths in \(0, inf\)"),
        ({"widths": (4, 4)}, r"widths is \(4, 4\); expected at least one value, each of them once"),
        ({"train_sizes": (0,)}, "train_sizes is 0; expected an integer of at least 1"),
        ({"label_noise": (1.5,)}, "label_noise holds 1.5; expected shares from 0 to 1"),
        ({"learning_rates": (0.0,)}, "learning_rates holds 0.0; expected positive numbers"),
        ({"num_seeds": 0}, "num_seeds is 0; expected an integer of at least 1"),
    ],
)
def test_refusals(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        grid(ConfigDict(FIELDS | changes))

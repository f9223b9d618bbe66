"""Bad arguments of VC bounds of networks: one sentence names the argument, its value and what is expected."""

import numpy as np
from refusals import COUNT, assert_refused, rows

import ntk


def unit(bounds):
    """A single unit of two inputs."""
    return bounds.DenseLayers(2, (1,), (3,))


REFUSED = [
    (
        "tree_layers: LayerNorm_0",
        lambda bounds: bounds.tree_layers({"a": np.ones((2, 2)), "LayerNorm_0": {"bias": np.ones(2)}}),
        ValueError,
        "LayerNorm_0/bias of",
    ),
    (
        "tree_layers: has",
        lambda bounds: bounds.tree_layers({"kernel": np.ones((2, 1)), "bias": np.ones(7)}),
        ValueError,
        r"has bias of shape \(7,\); exp",
    ),
    (
        "tree_layers: params",
        lambda bounds: bounds.tree_layers({"c": np.ones((2, 2)), "a": np.ones((2, 2))}),
        ValueError,
        "params has a .*, c .* in one order",
    ),
    (
        "network_vc_bounds: dim",
        lambda bounds: bounds.network_vc_bounds(bounds.DenseLayers(0, (1,), (-3,)), "relu"),
        ValueError,
        "dim is 0; expected an int",
    ),
    (
        "piecewise_vc_upper: layers",
        lambda bounds: bounds.piecewise_vc_upper(bounds.DenseLayers(3, (2, 1), (9, 2))),
        ValueError,
        r"layers is DenseLayers\(dim=3, .*; expected units and parameters of as many layers, .* 0 to k biases",
    ),
    (
        "half_space_vc_lower: layers",
        lambda bounds: bounds.half_space_vc_lower(None, "relu"),
        TypeError,
        "layers is NoneType; expected the DenseLayers",
    ),
    (
        "bit_extraction_vc_lower: layers",
        lambda bounds: bounds.bit_extraction_vc_lower(3),
        TypeError,
        "layers is int; expected the DenseLayers",
    ),
    (
        "mlp_layers: net",
        lambda bounds: bounds.mlp_layers(ntk.RNN(), 2, 3),
        TypeError,
        "net is RNN; expected an ntk.MLP",
    ),
    ("mlp_layers: dim", lambda bounds: bounds.mlp_layers(ntk.MLP(depth=1), 0, 3), ValueError, f"dim is 0; {COUNT}"),
    (
        "mlp_layers: net",
        lambda bounds: bounds.mlp_layers(ntk.MLP(depth=1, v_std=0.0), 2, 3),
        ValueError,
        "net has v_std 0; expected a positive one",
    ),
    (
        "mlp_layers: width",
        lambda bounds: bounds.mlp_layers(ntk.MLP(depth=1), 2, 3.0),
        ValueError,
        f"width is 3.0; {COUNT}",
    ),
    (
        "tree_layers: params",
        lambda bounds: bounds.tree_layers({}),
        ValueError,
        r"params is {}, without weights; expected matrices \(in, out\)",
    ),
    (
        "tree_layers: params",
        lambda bounds: bounds.tree_layers({"kernel": np.ones((3, 3, 1, 8))}),
        ValueError,
        r"params has kernel of shape \(3, 3, 1, 8\)",
    ),
    (
        "tree_layers: params",
        lambda bounds: bounds.tree_layers({"scale": np.ones(3)}),
        ValueError,
        r"params has scale of shape \(3,\); expected dense",
    ),
    (
        "tree_layers: w1",
        lambda bounds: bounds.tree_layers({"w1": np.ones((2, 3)), "w2": np.ones((4, 1))}),
        ValueError,
        r"w1 \(2, 3\), w2 \(4, 1\); expected",
    ),
    (
        "tree_layers: params",
        lambda bounds: bounds.tree_layers({"kernel": np.ones((2, 3))}),
        ValueError,
        "params has 3 outputs; expected 1",
    ),
    (
        "network_vc_bounds: layers",
        lambda bounds: bounds.network_vc_bounds(None, "relu"),
        TypeError,
        "layers is NoneType; expected the DenseLayers of",
    ),
    (
        "network_vc_bounds: activation",
        lambda bounds: bounds.network_vc_bounds(unit(bounds), "gelu"),
        ValueError,
        "activation is 'gelu'; expected one of 'identity', ",
    ),
    (
        "piecewise_vc_upper: breakpoints",
        lambda bounds: bounds.piecewise_vc_upper(unit(bounds), 0),
        ValueError,
        f"breakpoints is 0; {COUNT}",
    ),
    (
        "piecewise_vc_closed_form: layers",
        lambda bounds: bounds.piecewise_vc_closed_form(unit(bounds)),
        ValueError,
        "layers has 1 units; expected more than 2",
    ),
    (
        "anthony_bartlett_vc_upper: degree",
        lambda bounds: bounds.anthony_bartlett_vc_upper(unit(bounds), 1, -1),
        ValueError,
        "degree is -1; expected an integer",
    ),
    (
        "threshold_vc_upper: layers",
        lambda bounds: bounds.threshold_vc_upper([1]),
        TypeError,
        "layers is list; expected the DenseLayers",
    ),
    (
        "sigmoid_vc_upper: layers",
        lambda bounds: bounds.sigmoid_vc_upper(3),
        TypeError,
        "layers is int; expected the DenseLayers",
    ),
    (
        "baum_vc_lower: layers",
        lambda bounds: bounds.baum_vc_lower((2, (1,), (3,)), "relu"),
        TypeError,
        "layers is tuple; expected the DenseLayers",
    ),
    (
        "bit_extraction_vc_measure: num_parameters",
        lambda bounds: bounds.bit_extraction_vc_measure(3, 4),
        ValueError,
        "num_parameters is 3; expected an int.* 4",
    ),
    (
        "bit_extraction_vc_measure: num_layers",
        lambda bounds: bounds.bit_extraction_vc_measure(3, 0),
        ValueError,
        f"num_layers is 0; {COUNT}",
    ),
]


@rows(REFUSED)
def test_refused(plain_bounds, call, exception, sentence):
    assert_refused(lambda: call(plain_bounds), exception, sentence)

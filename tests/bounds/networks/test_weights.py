"""Which parameters of Linen, of NNX and of `ntk.finite` count as weight matrices."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tolerances import CLOSED_FORM, SAME_FORMULA

import ntk
from bounds.networks.margins import spectral_complexity
from bounds.networks.norms import layer_norms
from bounds.networks.weights import layer_matrices, ntk_weight_matrices, weight_matrices

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5, 5, 2)), jnp.float32)


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.BatchNorm(use_running_average=True)(nn.Conv(3, (2, 2), param_dtype=x.dtype)(x))
        for _ in range(11):
            x = nn.Dense(3, param_dtype=x.dtype)(x)
        return x


class Nnx(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(2, 3, (2, 2), rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 1, use_bias=False, rngs=rngs)])


def test_linen_variables():
    variables = Linen().init(jax.random.key(0), X)
    found = weight_matrices(variables)
    # Numbers in the order of numbers: Dense_10 is last.
    assert found.names == ("params/Conv_0/kernel", *(f"params/Dense_{i}/kernel" for i in range(11)))
    assert found.patch_sizes == (4, *[1] * 11)
    assert "params/Dense_3/bias" in found.ignored
    assert "batch_stats/BatchNorm_0/mean" in found.ignored
    kernel = variables["params"]["Conv_0"]["kernel"]
    np.testing.assert_array_equal(found.matrices[0], np.reshape(kernel, (8, 3)))
    assert weight_matrices(found) is found


def test_matrices_that_count_as_convolutions_are_printed_as_such():
    """The kernel of attention heads has more than two axes, but is not a convolution."""
    listed = str(weight_matrices({"query": {"kernel": jnp.ones((16, 4, 8)), "bias": jnp.ones((8,))}}))
    assert listed == "query/kernel: 64 x 8, a convolution of 16 positions\nquery/bias: ignored"


def test_nnx_state_and_model_are_the_same():
    model = Nnx()
    found = weight_matrices(nnx.state(model, nnx.Param))
    assert found.names == ("conv/kernel", "layers/0/kernel", "layers/1/kernel")
    assert len(found.ignored) == 2
    for other in (model, nnx.state(model)):
        assert weight_matrices(other).names == found.names


def test_a_filter_leaves_out():
    found = weight_matrices(Nnx(), lambda path: "layers" in path)
    assert len(found.names) == 2
    assert any("conv/kernel" in name for name in found.ignored)


def test_a_list_keeps_its_order():
    matrices = [np.full((i + 1, i + 2), float(i)) for i in range(12)]
    assert [len(w) for w in weight_matrices(matrices).matrices] == list(range(1, 13))


def test_the_matrices_of_an_mlp_compute_what_it_computes():
    net = ntk.MLP(depth=2, w_std=1.3, b_std=0.0, v_std=0.7)
    x = np.random.default_rng(1).normal(size=(6, 5))
    for outputs in (None, 3):
        model = ntk.finite(net, width=8, outputs=outputs)
        params = model.init(jax.random.key(0), x)
        weights = ntk_weight_matrices(net, params)
        z = x
        for w in weights.matrices[:-1]:
            z = np.maximum(z @ w, 0)
        expected = np.reshape(model.apply(params, x), (6, -1))
        np.testing.assert_allclose(
            z @ weights.matrices[-1], expected, rtol=CLOSED_FORM["float64"], atol=SAME_FORMULA["float64"]
        )
        assert weights.ignored == ()
    assert ntk_weight_matrices(ntk.MLP(depth=2, b_std=0.1), params).ignored == ("b1", "b2")


def ones(*shape):
    return np.ones(shape, np.float32)


CHAINS = {
    "in the order of a list": [ones(2, 5), ones(5, 3)],
    "in another order than that of the names": {"a": ones(5, 3), "b": ones(2, 5)},
    "alone": {"w": ones(3, 4)},
    "a convolution, and a dense layer at each position": {"Conv_0": ones(5, 5, 1, 3), "Dense_0": ones(3, 4)},
    "convolutions, flattened": {"Conv_0": ones(3, 3, 1, 4), "Conv_1": ones(3, 3, 4, 8), "Dense_0": ones(8 * 49, 10)},
}
NO_CHAINS = {
    "a list in the wrong order": [ones(5, 3), ones(2, 5)],
    "side by side": {"a": ones(2, 5), "b": ones(2, 5)},
    "a gap": [ones(2, 5), ones(6, 3)],
    "a dense layer of another multiple": {"Conv_0": ones(3, 3, 1, 4), "Dense_0": ones(10, 2)},
    "convolutions that do not fit": {"Conv_0": ones(3, 3, 1, 4), "Conv_1": ones(3, 3, 8, 8)},
}


@pytest.mark.parametrize("name", CHAINS)
def test_layers_that_follow_each_other_are_taken(name):
    norms = jax.eval_shape(lambda chain: layer_norms(chain).frobenius, CHAINS[name])
    assert norms.shape == (len(CHAINS[name]),)
    assert jax.eval_shape(spectral_complexity, CHAINS[name]).shape == ()


@pytest.mark.parametrize("name", NO_CHAINS)
def test_matrices_that_are_not_a_chain_are_refused(name):
    for function in (layer_norms, spectral_complexity):
        with pytest.raises(ValueError, match=r"(params|weights) has .*; expected matrices \(in, out\), each fitting"):
            function(NO_CHAINS[name])


def test_many_layers_of_many_names_are_looked_at_without_trying_all_orders():
    """Three blocks of six square matrices, and one that fits nowhere: 18!/6⁶ orders of the others."""
    blocks = {f"block_{i}": {name: ones(4, 4) for name in "abcdef"} for i in range(3)}
    layer_matrices("params", blocks)
    with pytest.raises(ValueError, match=r"params has .*, …; expected matrices"):
        layer_matrices("params", blocks | {"other": ones(5, 7)})

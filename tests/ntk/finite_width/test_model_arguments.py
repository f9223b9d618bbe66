"""Models and modules in the place of a function, and parameters that do not fit it: one sentence says what to do."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from model_zoo import normal
from tolerances import CLOSED_FORM

import ntk

X = normal(4, 3)
FUNCTIONS = {
    "empirical_ntk": lambda ntk, f, params: ntk.empirical_ntk(f, params, X),
    "ntk_diagonal": lambda ntk, f, params: ntk.ntk_diagonal(f, params, X),
    "ntk_vector_product": lambda ntk, f, params: ntk.ntk_vector_product(f, params, X, None, np.ones((4, 2))),
    "sketched_ntk": lambda ntk, f, params: ntk.sketched_ntk(f, params, X, num_projections=4, key=jax.random.key(0)),
    "explain_empirical": lambda ntk, f, params: ntk.explain_empirical(f, params, X),
    "linearize": lambda ntk, f, params: ntk.linearize(f, params),
    "taylor_expand": lambda ntk, f, params: ntk.taylor_expand(f, params, 2),
}
ON_INPUTS = [name for name in FUNCTIONS if name not in ("linearize", "taylor_expand")]


def program(ntk):
    @ntk.tensor_program
    def of_one_layer(t, x):
        return t.readout(t.activation(jnp.tanh, t.input_matrix()(x)))

    return of_one_layer


NO_FUNCTIONS = {
    "linen": (lambda ntk: nn.Dense(2), r"f is a model, Dense; expected its method `apply`"),
    "finite": (lambda ntk: ntk.finite(ntk.MLP(depth=1), 4), r"f is a model, FiniteMLP; expected its method `apply`"),
    "finite_program": (lambda ntk: ntk.finite(program(ntk), 4), r"f is a model, FiniteProgram; expected its method"),
    "nnx": (lambda ntk: nnx.Linear(3, 2, rngs=nnx.Rngs(0)), r"f is an NNX module, Linear; .*nnx.split\(model\)"),
    "description": (lambda ntk: ntk.MLP(depth=1), r"f is a description, MLP; expected ntk.finite\(net, width\).apply"),
    "program": (program, r"f is a description, TensorProgram; expected ntk.finite\(net, width\).apply"),
    "array": (lambda ntk: np.ones(3), r"f is array\(\[1., 1., 1.\]\); expected a function f\(params, x\)"),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", NO_FUNCTIONS)
def test_a_model_is_refused_with_the_right_call(plain, function, name):
    make, message = NO_FUNCTIONS[name]
    with pytest.raises(TypeError, match=message):
        FUNCTIONS[function](plain, make(plain), {"w": normal(3, 2)})


def test_the_recommended_calls_work():
    """The calls that the messages recommend, for one layer, whose kernel is x·x̄ + 1 for each output."""
    module, model = nn.Dense(2), nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    x = X.astype("float32")
    graph, state = nnx.split(model)
    expected = X @ X.T + 1
    for f, params in (
        (module.apply, module.init(jax.random.key(0), x)),
        (lambda state, x: nnx.merge(graph, state)(x), state),
    ):
        np.testing.assert_allclose(ntk.empirical_ntk(f, params, x), expected, atol=CLOSED_FORM["float32"])


def network(params, x):
    return x @ params["w"]


MISFITS = {
    "no such leaf": (network, {"v": normal(3, 2)}, "KeyError: 'w'"),
    "another shape": (network, {"w": normal(4, 2)}, "TypeError: "),
    "no dictionary": (network, [normal(3, 2)], "TypeError: "),
    "linen, bare": (nn.Dense(2).apply, {"w": normal(3, 2)}, r"\w+: "),
    "linen, another module": (nn.Dense(2).apply, {"params": {"w": normal(3, 2)}}, "ScopeParamNotFoundError: "),
    "finite": (ntk.finite(ntk.MLP(depth=1), 4).apply, {"params": {"w1": normal(2, 4)}}, "ValueError: params has 'w1'"),
}


@pytest.mark.parametrize("function", ON_INPUTS)
@pytest.mark.parametrize("name", MISFITS)
def test_parameters_that_do_not_fit_are_named_with_what_f_says(function, name):
    f, params, cause = MISFITS[name]
    message = rf"f\(params, x1?\) fails with {cause}.*; expected a function of such params"
    with pytest.raises((TypeError, ValueError), match=message):
        FUNCTIONS[function](ntk, f, params)

"""Every public function of networks and models, one argument at a time replaced by what it should not be."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hostile import BAD_VALUES, dealt, judge, replaced

X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
S = np.random.default_rng(1).normal(size=(4, 5, 3)).astype("float32")
W = np.random.default_rng(2).normal(size=(3, 2)).astype("float32")
V = np.ones((4, 2), "float32")
LENGTHS = np.array([5, 1, 2, 3])

SAID = {"name_or_function": "activation", "rngs": "key"}  # what messages call an argument
# Arrays of the right shape, with a wrong dtype or wrong entries.
ALIKE = {
    "nan alike": lambda array: np.full_like(array, np.nan),
    "inf alike": lambda array: np.full_like(array, np.inf),
    "int alike": lambda array: array.astype(int),
    "bool alike": lambda array: array.astype(bool),
    "half alike": lambda array: array.astype("float16"),
    "double alike": lambda array: array.astype(float),
    "complex alike": lambda array: array.astype(complex),
    "object alike": lambda array: array.astype(object),
    "an axis more": lambda array: array[None],
    "an axis less": lambda array: array[0],
    "an empty axis": lambda array: array[:0],
    "one row less": lambda array: array[:-1],
    "a list": lambda array: array.tolist(),
}


def linear(params, x):
    return x @ params


# By name: a function of the package, and arguments of it that are good.
CALLS = {
    "MLP": lambda ntk: (ntk.MLP, {"depth": 1, "activation": "relu", "w_std": 1.0, "b_std": 1.0, "v_std": 1.0}),
    "RNN": lambda ntk: (
        ntk.RNN,
        {"activation": "relu", "w_std": 1.0, "u_std": 1.0, "b_std": 1.0, "v_std": 1.0, "pooling": "last"},
    ),
    "activation": lambda ntk: (ntk.activation, {"name_or_function": jnp.tanh, "breakpoints": (0.0,)}),
    "dual": lambda ntk: (ntk.activation("erf").dual, COVARIANCE),
    "dual_derivative": lambda ntk: (ntk.activation("erf").dual_derivative, COVARIANCE),
    "error_estimate": lambda ntk: (ntk.activation("erf").error_estimate, COVARIANCE),
    "infinite_kernels of an MLP": lambda ntk: (ntk.infinite_kernels, {"net": ntk.MLP(depth=1), **SIDES}),
    "infinite_kernels of an RNN": lambda ntk: (ntk.infinite_kernels, {"net": ntk.RNN(), **SEQUENCES}),
    "infinite_ntk of an MLP": lambda ntk: (ntk.infinite_ntk, {"net": ntk.MLP(depth=1), **SIDES}),
    "infinite_ntk of an RNN": lambda ntk: (ntk.infinite_ntk, {"net": ntk.RNN(), **SEQUENCES}),
    "finite": lambda ntk: (ntk.finite, {"net": ntk.MLP(depth=1), "width": 4, "outputs": 2}),
    "init of an MLP": lambda ntk: (mlp(ntk)[1].init, {"rngs": jax.random.key(0), "x": X}),
    "init of an RNN": lambda ntk: (rnn(ntk)[1].init, {"rngs": jax.random.key(0), "x": S, "lengths": LENGTHS}),
    "apply of an MLP": lambda ntk: (mlp(ntk)[1].apply, {"variables": mlp(ntk)[2], "x": X}),
    "apply of an RNN": lambda ntk: (rnn(ntk)[1].apply, {"variables": rnn(ntk)[2], "x": S, "lengths": LENGTHS}),
    "empirical_kernels of an MLP": lambda ntk: (ntk.empirical_kernels, {**described(mlp(ntk)), **SIDES}),
    "empirical_kernels of an RNN": lambda ntk: (ntk.empirical_kernels, {**described(rnn(ntk)), **SEQUENCES}),
    "empirical_ntk": lambda ntk: (ntk.empirical_ntk, {**OF_F, **OPTIONS, "per_layer": False}),
    "explain_empirical": lambda ntk: (ntk.explain_empirical, {**OF_F, **OPTIONS}),
    "ntk_diagonal": lambda ntk: (ntk.ntk_diagonal, {"f": linear, "params": W, "x": X, **AXES, **CHOSEN}),
    "ntk_vector_product": lambda ntk: (ntk.ntk_vector_product, {**OF_F, "v": V, **CHOSEN}),
    "sketched_ntk": lambda ntk: (
        ntk.sketched_ntk,
        {**OF_F, "num_projections": 2, "key": jax.random.key(0), "kind": "gaussian", **CHOSEN},
    ),
    "linearize": lambda ntk: (ntk.linearize, {"f": linear, "params": W}),
    "a linearized model": lambda ntk: (lambda params: ntk.linearize(linear, W)(params, X), {"params": W}),
    "taylor_expand": lambda ntk: (ntk.taylor_expand, {"f": linear, "params": W, "degree": 2}),
    "load_neural_tangents": lambda ntk: (ntk.load_neural_tangents, {}),
    "fixed_point": lambda ntk: (ntk.fixed_point, {"net": ntk.MLP(depth=1, w_std=0.5), "start": 1.0}),
    "depth_scales": lambda ntk: (ntk.depth_scales, {"net": ntk.MLP(depth=1, w_std=0.5), "start": 1.0}),
    "zonal_spectrum": lambda ntk: (
        ntk.zonal_spectrum,
        {"net": ntk.MLP(depth=0), "dim": 3, "max_degree": 2, "kernel": "ntk"},
    ),
    "learning_curve": lambda ntk: (
        ntk.learning_curve,
        {
            "eigenvalues": ONES,
            "degeneracies": (1, 3),
            "target_power": ONES,
            "num_samples": 5,
            "ridge": 0.1,
            "noise": 0.1,
        },
    ),
    "kernel_alignment_risk": lambda ntk: (ntk.kernel_alignment_risk, OF_A_SAMPLE),
    "leave_one_out_residuals": lambda ntk: (ntk.leave_one_out_residuals, OF_A_SAMPLE),
}
ONES = np.ones(2)
WITH_RIDGE = {"ridge": 0.1}
OF_A_SAMPLE = {"k_train_train": np.eye(2), "y_train": np.ones(2), **WITH_RIDGE, "relative_ridge": False}
COVARIANCE = {"q11": 1.0, "q12": 0.5, "q22": 1.0}
SIDES = {"x1": X, "x2": X + 1}
SEQUENCES = {"x1": S, "x2": S + 1, "lengths1": LENGTHS, "lengths2": LENGTHS}
OF_F = {"f": linear, "params": W, **SIDES}
AXES = {"trace_axes": (-1,), "diagonal_axes": ()}
CHOSEN = {"batch_size": 2, "param_filter": lambda path: True}
OPTIONS = {**AXES, "method": "auto", **CHOSEN, "batch_dependent": False}


def mlp(ntk):
    """A description, the network of finite width and its parameters."""
    return with_parameters(ntk, ntk.MLP(depth=1), X)


def rnn(ntk):
    return with_parameters(ntk, ntk.RNN(), S)


def with_parameters(ntk, net, x):
    model = ntk.finite(net, 4)
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    return net, model, jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes)


def described(network):
    return {"net": network[0], "params": network[2]}


def hostile(arguments):
    """As `replaced`, and what is nearly good."""
    yield from replaced(arguments)
    for (argument, good), alike in itertools.product(arrays(arguments).items(), ALIKE):
        if not (good is LENGTHS and alike in ("nan alike", "inf alike")):
            yield argument, alike, arguments | {argument: ALIKE[alike](good)}


def arrays(arguments):
    return {argument: good for argument, good in arguments.items() if isinstance(good, np.ndarray)}


@pytest.fixture(scope="module")
def sample(plain):
    """Three bad values for each argument of each function, and where it is an array one that is nearly good."""
    calls = {name: call(plain)[1] for name, call in CALLS.items()}
    bad = dealt(calls, BAD_VALUES, each=3)
    alike = dealt({name: arrays(arguments) for name, arguments in calls.items()}, ALIKE, each=1)
    return {place: values + alike.get(place, []) for place, values in bad.items()}


def wrong_answers(function, good, tried):
    found = []
    for argument, bad, given in hostile(good):
        if bad not in tried(argument):
            continue
        wrong = judge(lambda given=given: function(**given), SAID.get(argument, argument), bad)
        if wrong:
            found.append(f"{argument} = {bad}: {wrong}")
    return "\n".join(found)


def test_every_public_function_of_networks_and_models_is_called(plain):
    other = {"save", "load", "dynamics", "architectures", "check_gia", "corrected_kernels", "tensor_program"}
    functions = {name for name in plain.__all__ if not isinstance(getattr(plain, name), type)} | {"MLP", "RNN"}
    assert functions - other - set(plain.spectra.__all__) <= {name.partition(" of ")[0] for name in CALLS} | {
        "Activation"
    }


@pytest.mark.parametrize("name", CALLS)
def test_some_careless_calls(plain, sample, name):
    function, good = CALLS[name](plain)
    function(**good)
    assert not wrong_answers(function, good, lambda argument: sample[name, argument])


def test_the_sample_has_every_argument_and_every_bad_value(plain, sample):
    assert set(sample) == {(name, argument) for name, call in CALLS.items() for argument in call(plain)[1]}
    assert {bad for values in sample.values() for bad in values} == {*BAD_VALUES, *ALIKE}


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_all_careless_calls(plain, name):
    function, good = CALLS[name](plain)
    assert not wrong_answers(function, good, lambda argument: (*BAD_VALUES, *ALIKE))


@pytest.mark.parametrize("name", CALLS)
def test_a_misspelt_argument_is_named(plain, name):
    function, good = CALLS[name](plain)
    with pytest.raises(TypeError, match="argument 'lenghts'") as refusal:
        function(**good, lenghts=3)
    assert " _" not in str(refusal.value)

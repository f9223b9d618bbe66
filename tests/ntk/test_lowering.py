"""Every public function from arrays to arrays lowers for CPU, CUDA and TPU, without callbacks to the host."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import ntk

PLATFORMS = ("cpu", "cuda", "tpu")
CALLBACKS = re.compile(r"custom_call @\w*callback")

# The rest of ntk.__all__ takes arrays to arrays and is lowered below.
ON_THE_HOST = {
    "MLP": "a description; its standard deviations are arguments of what is lowered",
    "RNN": "a description; its standard deviations are arguments of what is lowered",
    "StandardParameterization": "a description; widths are arguments of what is lowered",
    "Kernels": "a container of results",
    "MLPKernels": "a container of results",
    "NetworkKernels": "a protocol of such containers",
    "SketchedNTK": "a container of results",
    "ProgramKernels": "a container of results",
    "CorrectedKernels": "a container of results",
    "corrected_kernels": "of programs, which are lowered in tests/ntk/programs",
    "TensorProgram": "a description; infinite_kernels of programs are lowered in tests/ntk/programs",
    "tensor_program": "turns a function into a TensorProgram",
    "architectures": "a module of tensor programs",
    "check_gia": "describes a computation, for which no value is needed",
    "Explanation": "a table of rules and costs",
    "explain_empirical": "describes a computation, for which no value is needed",
    "activation": "turns a name or a function into an Activation",
    "load_neural_tangents": "imports a package",
    "dynamics": "a package, whose functions are lowered in tests/ntk/dynamics",
    "LearningCurve": "a container of results",
    "FixedPoint": "a container of results",
    "DepthScales": "a container of results",
    "fixed_point": "a root, in float64; the dual maps in it are lowered below",
    "depth_scales": "slopes at a root, in float64",
    "ZonalSpectrum": "a container of results",
    "learning_curve": "a closed form and a root, in float64",
    "zonal_spectrum": "integrals in float64; the kernels in them are lowered below",
    "save": "writes a file",
    "load": "reads a file",
}

# Sizes that nothing else has, so that a product's shape tells whether it is a Gram matrix.
N1, N2, T1, T2, D, WIDTH = 7, 5, 3, 4, 2, 11
MLP = ntk.MLP(depth=3, activation="relu")
LAST, MEAN = ntk.RNN(activation="erf"), ntk.RNN(activation="gelu", pooling="mean")


def array(dtype, *shape):
    return jax.ShapeDtypeStruct(shape, dtype)


def like(tree, dtype):
    """The same pytree of abstract arrays, floating-point leaves in `dtype`."""
    return jax.tree.map(lambda leaf: array(dtype, *np.shape(leaf)), tree)


def sides(net, dtype):
    """x1, x2 and the lengths of both, as a kernel takes them."""
    if isinstance(net, ntk.MLP):
        return (array(dtype, N1, D), array(dtype, N2, D)), {}
    lengths = {"lengths1": array("int32", N1), "lengths2": array("int32", N2)}
    return (array(dtype, N1, T1, D), array(dtype, N2, T2, D)), lengths


def params_of(model, x):
    return jax.eval_shape(model.init, jax.random.key(0), x)


def two_layers(params, x):
    return jnp.tanh(x @ params["w"]) @ params["v"]


TWO_LAYERS = {"w": np.zeros((D, WIDTH)), "v": np.zeros((WIDTH, 3))}
NAMED = (
    *("identity", "relu", "leaky_relu", "abs", "erf", "tanh", "sigmoid", "gelu", "silu", "softplus"),
    *("sin", "cos", "exp", "sign", "step", "gaussian", "square", "cube"),
)


def user_function(x):
    return jnp.clip(x, -1.0, 1.0)


def functions(dtype):
    """Name, function and abstract arguments of everything that is lowered, (name, f, args, kwargs)."""
    for net, kind in ((MLP, "mlp"), (LAST, "last"), (MEAN, "mean")):
        pair, lengths = sides(net, dtype)
        abstract = like(net, dtype)
        model = ntk.finite(net, WIDTH, outputs=3)
        params = params_of(model, pair[0])
        for name in ("infinite_kernels", "infinite_ntk"):
            yield f"{name}-{kind}", getattr(ntk, name), (abstract, *pair), lengths
            one_side = {key: value for key, value in lengths.items() if key == "lengths1"}
            yield f"{name}-{kind}-one-batch", getattr(ntk, name), (abstract, pair[0]), one_side
        yield f"empirical_kernels-{kind}", ntk.empirical_kernels, (abstract, params, *pair), lengths
        yield f"finite-{kind}-init", model.init, (jax.eval_shape(jax.random.key, 0), pair[0]), {}
        yield f"finite-{kind}-apply", model.apply, (params, pair[0], *list(lengths.values())[:1]), {}

    for name, batch_size in (("empirical_ntk", None), ("empirical_ntk-in-tiles", 2)):
        kernel = functools.partial(ntk.empirical_ntk, two_layers, trace_axes=(), batch_size=batch_size)
        yield name, kernel, (like(TWO_LAYERS, dtype), array(dtype, N1, D), array(dtype, N2, D)), {}
    weights = like(TWO_LAYERS, dtype)
    for option in ({"method": "vector_products"}, {"per_layer": True}, {"batch_dependent": True}):
        name = f"empirical_ntk-{next(iter(option))}"
        yield name, functools.partial(ntk.empirical_ntk, two_layers, **option), (weights, array(dtype, N1, D)), {}
    yield "ntk_diagonal", functools.partial(ntk.ntk_diagonal, two_layers), (weights, array(dtype, N1, D)), {}
    x1, x2, outputs = array(dtype, N1, D), array(dtype, N2, D), array(dtype, N2, 3)
    product = functools.partial(ntk.ntk_vector_product, two_layers)
    yield "ntk_vector_product", product, (weights, x1, x2, outputs), {}
    yield "linearize", lambda w, w2, x: ntk.linearize(two_layers, w)(w2, x), (weights, weights, x1), {}
    yield "taylor_expand", lambda w, w2, x: ntk.taylor_expand(two_layers, w, 2)(w2, x), (weights, weights, x1), {}
    key = jax.eval_shape(jax.random.key, 0)
    sketch = functools.partial(ntk.sketched_ntk, two_layers, num_projections=3)
    yield "sketched_ntk", lambda w, x, key: jax.tree.leaves(sketch(w, x, key=key)), (weights, x1, key), {}
    square = array(dtype, N1, N1)
    for name in ("eigenvalues", "effective_rank", "condition_number"):
        yield name, getattr(ntk, name), (square,), {}
    yield "effective_dimension", ntk.effective_dimension, (square, array(dtype)), {}
    for name in ("kernel_alignment_risk", "leave_one_out_residuals"):
        estimate = functools.partial(getattr(ntk, name), ridge=0.1)
        yield name, estimate, (square, array(dtype, N1, 3)), {}
    yield "target_alignment", ntk.target_alignment, (square, array(dtype, N1, 3)), {}
    for name in ("alignment", "kernel_distance"):
        yield name, getattr(ntk, name), (square, square), {}
    covariance = (array(dtype, N1, 1), array(dtype, N1, N2), array(dtype, N2))
    for activation in (*NAMED, user_function):
        name = activation if isinstance(activation, str) else activation.__name__
        yield f"Activation-{name}", functools.partial(every_method, activation), covariance, {}


def every_method(activation, *q):
    points = (0.0,) if isinstance(activation, str) else (-1.0, 1.0)
    chosen = ntk.activation(activation, breakpoints=points)
    return [getattr(chosen, method)(*q) for method in METHODS]


METHODS = ("dual", "dual_derivative", "error_estimate")


@functools.cache
def table(dtype):
    return {name: call for name, *call in functions(dtype)}


LOWERED = table("float32")
IN_FLOAT64 = [name for name in LOWERED if not name.startswith("Activation")]


def program(f, args, kwargs):
    """The StableHLO text of f, lowered for all platforms at once."""
    return export.export(jax.jit(f), platforms=PLATFORMS)(*args, **kwargs).mlir_module()


@functools.cache
def lowered(name):
    return program(*LOWERED[name])


def test_every_public_name_is_lowered_or_listed_with_its_reason():
    names = {name.partition("-")[0] for name in LOWERED}
    assert not names & ON_THE_HOST.keys()
    assert names | ON_THE_HOST.keys() == set(ntk.__all__)
    assert all(ON_THE_HOST.values())
    public = {name for name in vars(ntk.Activation) if callable(getattr(ntk.Activation, name)) and name[0] != "_"}
    assert set(METHODS) == public


def test_every_named_activation_is_lowered():
    with pytest.raises(ValueError, match="activation is 'no such'; expected one of") as refusal:
        ntk.activation("no such")
    names = str(refusal.value).partition("expected one of ")[2].rstrip(".").split(", ")
    assert sorted(NAMED) == sorted(names)


@pytest.mark.parametrize("name", LOWERED)
def test_lowers_for_every_platform_without_callbacks(name):
    text = lowered(name)
    assert "stablehlo" in text
    assert CALLBACKS.findall(text) == []
    # Python's numbers are float64 scalars where x64 is on, but no array may be: TPUs have to emulate it.
    assert re.findall(r"tensor<[\dx]+xf64>", text) == []


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if "one-batch" in name else name for name in IN_FLOAT64]
)
def test_lowers_in_float64(name):
    text = program(*table("float64")[name])
    assert CALLBACKS.findall(text) == []
    # No digits are lost on the way.
    assert re.findall(r"stablehlo.convert.*f64>\) -> tensor<.*f32>", text) == []


@pytest.mark.parametrize("order", ["reverse over reverse", "forward over reverse"])
def test_second_derivatives_of_a_batch_of_kernels_lower(order):
    """The rules of ReLU's maps, in the loop over layers, under `vmap`."""

    def kernel(w_std, x):
        return jnp.sum(ntk.infinite_ntk(ntk.MLP(depth=2, w_std=w_std), x))

    outer = jax.grad if order == "reverse over reverse" else jax.jacfwd
    second = jax.vmap(outer(jax.grad(kernel)), in_axes=(0, None))
    text = program(second, (array("float32", 2), array("float32", N1, D)), {})
    assert CALLBACKS.findall(text) == []
    assert re.findall(r"tensor<[\dx]+xf64>", text) == []


def products(text):
    """The line and the result's shape of every matrix product."""
    for line in text.splitlines():
        if "stablehlo.dot_general" in line:
            shape = line.rpartition("->")[2]
            yield line, [int(size) for size in re.findall(r"(\d+)x", shape)]


@pytest.mark.parametrize("name", [name for name in LOWERED if name.startswith("infinite")])
def test_infinite_kernels_use_highest_precision_throughout(name):
    found = [line for line, _ in products(lowered(name))]
    assert found
    assert [line for line in found if "precision = [HIGHEST, HIGHEST]" not in line] == []


@pytest.mark.parametrize(
    ("name", "at_least"),
    [("empirical_kernels-mlp", 3), ("empirical_kernels-last", 3), ("empirical_kernels-mean", 3), ("empirical_ntk", 2)],
)
def test_gram_products_of_finite_networks_have_highest_precision(name, at_least):
    """At least those of the inputs, of C and of D, or of each parameter's Jacobians; the forward pass keeps its own."""
    found = list(products(lowered(name)))
    grams = [line for line, shape in found if {N1, N2} <= set(shape)]
    assert len(grams) >= at_least * len(PLATFORMS)
    assert [line for line in grams if "precision = [HIGHEST, HIGHEST]" not in line] == []
    assert [line for line, _ in found if "precision = [HIGHEST, HIGHEST]" not in line] != []


def test_the_search_for_callbacks_sees_them():
    def calls_back(x):
        return jax.pure_callback(np.sin, array("float32", 3), x)

    assert CALLBACKS.findall(jax.jit(calls_back).lower(array("float32", 3)).as_text())
    with pytest.raises(NotImplementedError, match="callback"):
        program(calls_back, [array("float32", 3)], {})

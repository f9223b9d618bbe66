"""Programs compile once for a shape and lower for CPU, CUDA and TPU, without callbacks and in one precision."""

import re

import jax
import jax.numpy as jnp
import program_zoo as zoo
import pytest
from jax import export

from ntk.caches.lifetimes import kept_with
from ntk.jaxprs import equations
from ntk.programs import corrected_kernels, finite, infinite, infinite_ntk, tensor_program
from ntk.programs.architectures import batch_norm_mlp, cnn_1d, cnn_2d, lstm, rnn, transformer
from ntk.programs.limit.evaluation import exact_limits, forms_of, sampled_limits

PROGRAMS = {
    "mlp": (zoo.mlp(depth=2), (3,)),
    "lstm": (lstm, (2, 3)),
    "batch_norm": (batch_norm_mlp, (3,)),
    "cnn": (cnn_2d(pooling="mean"), (3, 4, 2)),
    "transformer": (transformer, (3, 2)),
}


def text(f, *args):
    return export.export(jax.jit(f), platforms=("cpu", "cuda", "tpu"))(*args).mlir_module()


@pytest.mark.parametrize(  # a program with batch means has no tiles
    ("name", "tile_size"),
    [
        *(("mlp", None), ("mlp", 2), ("lstm", None), ("lstm", 2), ("batch_norm", None), ("cnn", 2)),
        pytest.param("transformer", None, marks=pytest.mark.slow),
    ],
)
def test_lowers_for_every_platform(name, tile_size):
    program, shape = PROGRAMS[name]
    x = jax.ShapeDtypeStruct((3, *shape), jnp.float32)
    found = text(lambda program, x: infinite(program, x, samples=256, tile_size=tile_size), program, x)
    assert re.findall(r"custom_call @\w*callback", found) == []
    assert re.findall(r"tensor<[\dx]+xf64>", found) == []
    products = [line for line in found.splitlines() if "stablehlo.dot_general" in line]
    assert products
    assert [line for line in products if "precision = [HIGHEST, HIGHEST]" not in line] == []


def test_corrected_kernels_lower():
    x = jax.ShapeDtypeStruct((3, 3), jnp.float32)
    found = text(lambda program, x: corrected_kernels(program, x, samples=512), zoo.mlp(depth=2), x)
    assert re.findall(r"custom_call @\w*callback", found) == []
    assert re.findall(r"tensor<[\dx]+xf64>", found) == []
    products = [line for line in found.splitlines() if "stablehlo.dot_general" in line]
    assert products
    assert [line for line in products if "precision = [HIGHEST, HIGHEST]" not in line] == []


@pytest.mark.parametrize("name", PROGRAMS)
def test_finite_programs_lower(name):
    program, shape = PROGRAMS[name]
    model, x = finite(program, 5, outputs=2), jax.ShapeDtypeStruct((3, *shape), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    params = jax.eval_shape(model.init, key, x)
    assert "callback" not in text(model.init, key, x)
    found = text(model.apply, params, x)
    assert "stablehlo.dot_general" in found
    assert re.findall(r"tensor<[\dx]+xf64>", found) == []


def equations_of(program, length, **sampling):
    """How many equations JAX traces for the NTK of inputs of that length, those inside loops once."""
    x = jax.ShapeDtypeStruct((2, length, 2), jnp.float32)
    traced = jax.make_jaxpr(lambda program, x: infinite_ntk(program, x, **sampling))(program, x)
    return sum(1 for _ in equations(traced.jaxpr))


@pytest.mark.parametrize(
    "name", ["rnn", *(pytest.param(name, marks=pytest.mark.slow) for name in ("lstm", "cnn_1d", "transformer"))]
)
def test_the_compiled_program_does_not_grow_with_the_number_of_positions(name):
    program, sampling = {
        "rnn": (rnn(pooling="mean"), {}),
        "lstm": (lstm, {"samples": 64}),
        "cnn_1d": (cnn_1d(depth=1), {}),
        "transformer": (transformer(depth=1), {}),
    }[name]
    assert equations_of(program, 16, **sampling) == equations_of(program, 64, **sampling)


def test_a_python_loop_over_positions_is_written_out():
    """So that equations, and not something else, are counted above."""

    @tensor_program
    def by_hand(net, x):
        s = net.zero()
        for entries in x:
            s = net.phi("relu")(net.matrix("w") @ s + net.input_matrix("u") @ entries)
        return net.output("v") @ s

    assert equations_of(by_hand, 2) < equations_of(by_hand, 3)


def test_compiled_once_for_a_shape():
    # Programs of this test alone, so that no other one compiles them.
    @tensor_program
    def one_layer(net, x, *, w_std=1.0):
        return net.output("v") @ net.phi("erf")(net.input_matrix("w", w_std) @ x)

    @tensor_program
    def gated(net, x, *, w_std=1.0):
        z = net.input_matrix("w", w_std) @ x
        return net.output("v") @ (z * net.phi("erf")(z))

    x = jnp.ones((2, 3))
    for limits, program in ((exact_limits, one_layer), (sampled_limits, gated)):
        for number in (0.5, 0.7, 0.9):
            infinite(program(w_std=number), number * x, samples=256, seed=int(10 * number))
        kept = kept_with(forms_of(program.record((3,))))
        assert [found._cache_size() for body, found in kept.items() if body.__name__ == limits.__name__] == [1]

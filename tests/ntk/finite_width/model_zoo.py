"""Small models of every kind of layer, as f(params, x) with float64 parameters."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from as_written import as_written
from flax import nnx
from jax import lax


class Model(NamedTuple):
    """A function, its parameters, and inputs of both sides."""

    f: object
    params: object
    x1: np.ndarray
    x2: np.ndarray


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def with_data(f, params, *shape, dtype="float64"):
    """Four and three inputs of the given shape; integers below 5 where the dtype says so."""
    if dtype == "int32":
        rng = np.random.default_rng(0)
        return Model(as_written(f), params, rng.integers(0, 5, (4, *shape)), rng.integers(0, 5, (3, *shape)))
    return Model(as_written(f), params, normal(4, *shape, seed=1), normal(3, *shape, seed=2))


def linen(module, *shape, dtype="float64"):
    model = with_data(module.apply, None, *shape, dtype=dtype)
    shapes = jax.eval_shape(as_written(module.init), jax.random.key(0), model.x1)
    params = jax.tree.map(lambda leaf: normal(*leaf.shape) / max(1, leaf.size) ** 0.25, shapes)
    if "batch_stats" in params:  # a running variance is positive
        params["batch_stats"] = jax.tree.map(np.abs, params["batch_stats"])
    return model._replace(params=params)


class Attention(nn.Module):
    """Multi-head attention with a residual, as two blocks of a transformer have it."""

    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            x = x + nn.MultiHeadDotProductAttention(num_heads=2, param_dtype=jnp.float64)(nn.LayerNorm()(x))
        return nn.Dense(2)(jnp.tanh(x).mean(1))


class Convolutions(nn.Module):
    """Strided, dilated, grouped, circular and transposed convolutions, pooling and batch norm in evaluation mode."""

    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Conv(4, (3, 3), strides=(2, 1))(x))
        x = nn.BatchNorm(use_running_average=True)(x)
        x = nn.tanh(nn.Conv(6, (3, 2), kernel_dilation=(1, 2), feature_group_count=2, padding="CIRCULAR")(x))
        x = nn.avg_pool(x, (2, 2), (1, 1))
        x = nn.tanh(nn.Conv(6, (2, 2), feature_group_count=6, padding="VALID", use_bias=False)(x))
        x = nn.tanh(nn.ConvTranspose(3, (3, 3), strides=(2, 2))(x))
        return nn.Dense(3)(x.mean((1, 2)))


class Recurrent(nn.Module):
    cell: object

    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(jnp.tanh(nn.RNN(self.cell)(x)[:, -1]))


class Tied(nn.Module):
    """An embedding that is the read-out as well."""

    @nn.compact
    def __call__(self, tokens):
        embed = nn.Embed(5, 4)
        return embed.attend(nn.tanh(nn.Dense(4)(embed(tokens).mean(1))))


class Embedded(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(50, 3)(tokens) + nn.Embed(7, 3)(jnp.arange(tokens.shape[1]))
        return nn.Dense(2)(nn.tanh(nn.Dense(4)(x)).sum(1))


def stacked_layers(params, x):
    """Layers scanned over, within which one matrix is used at every layer and one twice."""

    def layer(h, own):
        return jnp.tanh(h @ own["w"] @ params["shared"] + jnp.sin(h) @ params["shared"] + own["b"]), h.sum()

    h, _ = lax.scan(layer, x, params["layers"])
    return h @ params["v"]


STACKED = {
    "layers": {"w": normal(3, 4, 4) / 2, "b": normal(3, 4)},
    "shared": normal(4, 4, seed=3) / 2,
    "v": normal(4, 2, seed=4),
}


def nested_scans(params, x):
    """A recurrent net of two stacked layers: the outer scan over layers, the inner one over time, in reverse."""

    def layer(sequence, own):
        def step(s, xi):
            s = jnp.tanh(0.5 * s @ (own / 2) + xi @ params["u"].T)
            return s, s

        return lax.scan(step, jnp.zeros_like(sequence[0]), sequence, reverse=True)[1], None

    return lax.scan(layer, x.swapaxes(0, 1), params["w"])[0][0] @ params["v"]


def branches(params, x):
    def one(x):
        h = lax.cond(x[0] > 0, lambda h: jnp.tanh(h @ params["w"]), lambda h: h @ params["v"] @ params["w"], x)
        return lax.switch(jnp.argmax(x), [lambda h: h, lambda h: h @ params["w"], jnp.sin], h)

    return lax.map(one, x)


def wrapped(params, x):
    """A parameter inside remat, jit, fori_loop and a function with a derivative of its own."""

    @jax.custom_jvp
    def product(h, w):
        return h @ w

    product.defjvp(lambda primals, tangents: (primals[0] @ primals[1], 3 * tangents[0] @ primals[1]))
    h = jax.checkpoint(lambda h: jnp.tanh(h @ params["w"]))(x)
    h = jax.jit(lambda h: jnp.tanh(h @ params["w"] * 2))(h)
    h = lax.fori_loop(0, 3, lambda i, h: jnp.tanh(h @ params["w"]), h)
    return product(h, params["v"]) + h @ params["w"]


def views(params, x):
    """Slices that overlap and slices that do not, transposes, reshapes, scalar factors, a parameter times another."""
    q, k, v = jnp.split(params["qkv"], 3, axis=1)
    h = jnp.tanh(x @ q) * (x @ k) + (v.T @ x.T).T / params["gain"]
    h = h + jnp.tanh(x @ params["half"][:2].T @ params["half"][1:]) - x @ (-params["gain"] * params["square"]).T
    return jnp.tanh(h @ params["flat"].reshape(3, 3)) @ (params["square"] @ params["thin"])


VIEWS = {
    "qkv": normal(3, 9) / 3,
    "half": normal(3, 3) / 3,
    "square": normal(3, 3, seed=1) / 3,
    "flat": normal(9) / 3,
    "thin": normal(3, 2),
    "gain": np.float64(0.8),
}


def escapes(params, x):
    """Uses without a rule: a norm, an exponential, a mask, a stopped gradient, a row that the data choose."""
    w = params["w"] / jnp.linalg.norm(params["w"], axis=0)
    h = jnp.tanh(x @ w) @ jnp.exp(params["v"]) + x @ (params["masked"] * np.tri(3))
    return h + lax.stop_gradient(h @ params["w"]) + params["masked"][jnp.argmax(x, axis=1)] @ params["v"]


ESCAPES = {"w": normal(3, 3), "v": normal(3, 3, seed=1), "masked": normal(3, 3, seed=2)}


def einsums(params, x):
    """Products in unusual layouts: batch axes shared with a parameter, the parameter first, two positions axes."""
    h = jnp.einsum("hde,ntd->nhte", params["heads"], x)
    h = jnp.tanh(jnp.einsum("nhte,hef->nthf", h, params["each"]))
    h = jnp.einsum("fho,nthf->ont", params["merge"], h)
    return jnp.tanh(h).sum(-1).T


EINSUMS = {"heads": normal(2, 3, 4), "each": normal(2, 4, 4), "merge": normal(4, 2, 3)}


def ensemble(params, x):
    """vmap over stacked parameters."""
    return jax.vmap(lambda w, v: jnp.tanh(x @ w) @ v, in_axes=(0, 0), out_axes=-1)(params["w"], params["v"])


def row_lookups(params, tokens):
    h = jnp.take(params["clipped"], tokens - 1, axis=0, mode="clip").sum(1)
    return jnp.tanh(h + jnp.take(params["filled"], tokens, axis=0, fill_value=0.5).sum(1)) * 2.0


def scaled_lookups(params, tokens):
    """Rows that are multiplied, divided, negated and subtracted after the lookup, in a scan too."""
    e, f, b = params["e"], params["f"], params["b"]
    h = 2.0 * e[tokens] + 0.5 * (f[tokens] + b) - e[tokens[:, ::-1]]

    def step(s, t):
        return jnp.tanh(s - f[t]), -e[t] / 3.0

    s, turned = lax.scan(step, jnp.zeros((len(tokens), 3)), tokens.T)
    return jnp.tanh(h).sum(1) + s + turned.sum(0)


def joined_alone(params, x):
    """Parameters side by side that enter a scan, a jit, a remat and a cond without another parameter."""
    w = jnp.concatenate([params["i"], params["o"]], axis=1)
    h, _ = lax.scan(lambda s, x: (jnp.tanh(((s + x) @ w)[:, 1:]), None), jnp.zeros((len(x), 3)), x.swapaxes(0, 1))
    h = jax.jit(lambda h, w: jnp.tanh(h @ w))(h, w)[:, :3]
    h = jax.checkpoint(lambda h, w: jnp.tanh(h @ w))(h, w)[:, 1:]
    return lax.cond(x.size > 0, lambda h, w: h @ w, lambda h, w: (2 * h) @ w, h, w)


def printed(params, x):
    """Parameters that are looked at, and one matrix on arrays of two ranks."""
    jax.debug.callback(lambda *_: None, params["w"], params["v"][0])
    h = jnp.tanh(x @ params["w"])
    return jnp.tanh(h.mean(1)) @ params["w"] + jnp.tanh(h @ params["v"]).sum(1)


def side_by_side(params, x):
    """Parameters concatenated along axes that a product keeps, on either side of it, or sums over."""
    queries_and_keys = jnp.concatenate([params["q"], params["k"]], axis=0)
    h = jnp.einsum("ni,ji->nj", x, queries_and_keys) + jnp.concatenate([params["b"], params["c"]])
    stacked = jnp.concatenate([params["s"], params["t"]], axis=0)
    outputs = jnp.concatenate([params["v"], params["w"], params["v"]], axis=1)
    return jnp.tanh(jnp.tanh(h) @ stacked) @ outputs


SIDE_BY_SIDE = {"q": normal(2, 3), "k": normal(4, 3), "b": normal(2), "c": normal(4)}
SIDE_BY_SIDE |= {"s": normal(2, 5), "t": normal(4, 5), "v": normal(5, 1), "w": normal(5, 2)}


def one_dimensional(params, x):
    """Convolutions of other ranks and layouts: 1-D channels first, 3-D, and one with dilated inputs."""
    numbers = ("NCH", "OIH", "NCH")
    h = lax.conv_general_dilated(x, params["k1"], (2,), [(1, 3)], lhs_dilation=(2,), dimension_numbers=numbers)
    h = jnp.tanh(h)[:, :, :4].reshape(-1, 2, 2, 2, 2)
    h = lax.conv_general_dilated(h, params["k3"].transpose(4, 3, 0, 1, 2), (1, 1, 1), "SAME")
    return jnp.tanh(h).mean((2, 3, 4))


def nnx_model():
    class Net(nnx.Module):
        def __init__(self, rngs):
            kwargs = {"param_dtype": jnp.float64, "rngs": rngs}
            self.conv = nnx.Conv(2, 4, (3, 3), **kwargs)
            self.norm = nnx.BatchNorm(4, use_running_average=True, **kwargs)
            self.group = nnx.GroupNorm(4, num_groups=2, **kwargs)
            self.out = nnx.Linear(4, 2, **kwargs)

        def __call__(self, x):
            return self.out(nnx.gelu(self.group(self.norm(self.conv(x)))).mean((1, 2)))

    graph, state = nnx.split(Net(nnx.Rngs(0)))
    state = jax.tree.map(lambda leaf: leaf.astype("float64"), state)
    return with_data(lambda state, x: nnx.merge(graph, state)(x), state, 4, 4, 2)


def tied_autoencoders(params, x):
    """Taps shared by parameters, one of them without a rule: a tied matrix, and one that is used in two layouts."""
    h = jnp.tanh(x @ params["w"] + params["b"])
    h = jnp.tanh(h @ params["w"].T + jnp.sin(h) @ params["u"] + params["c"])
    return h @ params["u"] + h @ lax.stop_gradient(params["v"] * jnp.sin(params["gain"])) + h @ params["v"]


TIED = {"w": normal(3, 3), "b": normal(3), "u": normal(3, 3, seed=1), "c": normal(3, seed=2), "v": normal(3, 3, seed=3)}


ZOO = {
    "tied_autoencoders": lambda: with_data(tied_autoencoders, {**TIED, "gain": np.float64(0.7)}, 3),
    "dense": lambda: linen(nn.Sequential([nn.Dense(5), nn.relu, nn.Dense(4), nn.gelu, nn.Dense(3)]), 3),
    "attention": lambda: linen(Attention(), 4, 6),
    "convolutions": lambda: linen(Convolutions(), 6, 5, 2),
    "gru": lambda: linen(Recurrent(nn.GRUCell(4, param_dtype=jnp.float64)), 5, 3),
    "lstm": lambda: linen(Recurrent(nn.OptimizedLSTMCell(3, param_dtype=jnp.float64)), 5, 3),
    "tied": lambda: linen(Tied(), 6, dtype="int32"),
    "embedded": lambda: linen(Embedded(), 3, dtype="int32"),
    "nnx": nnx_model,
    "stacked_layers": lambda: with_data(stacked_layers, STACKED, 4),
    "nested_scans": lambda: with_data(nested_scans, {"w": normal(2, 3, 3), "u": normal(3, 3), "v": normal(3, 2)}, 5, 3),
    "branches": lambda: with_data(branches, {"w": normal(3, 3), "v": normal(3, 3, seed=1)}, 3),
    "wrapped": lambda: with_data(wrapped, {"w": normal(3, 3), "v": normal(3, 3, seed=1)}, 3),
    "views": lambda: with_data(views, VIEWS, 3),
    "escapes": lambda: with_data(escapes, ESCAPES, 3),
    "einsums": lambda: with_data(einsums, EINSUMS, 5, 3),
    "ensemble": lambda: with_data(ensemble, {"w": normal(3, 3, 4), "v": normal(3, 4)}, 3),
    "side_by_side": lambda: with_data(side_by_side, SIDE_BY_SIDE, 3),
    "row_lookups": lambda: with_data(
        row_lookups, {"clipped": normal(4, 3), "filled": normal(4, 3, seed=1)}, 4, dtype="int32"
    ),
    "scaled_lookups": lambda: with_data(
        scaled_lookups, {"e": normal(5, 3), "f": normal(5, 3, seed=1), "b": normal(3)}, 4, dtype="int32"
    ),
    "joined_alone": lambda: with_data(joined_alone, {"i": normal(3, 1), "o": normal(3, 3)}, 4, 3),
    "printed": lambda: with_data(printed, {"w": normal(3, 3), "v": normal(3, 3, seed=1)}, 4, 3),
    "other_ranks": lambda: with_data(one_dimensional, {"k1": normal(4, 3, 3), "k3": normal(2, 2, 2, 2, 3)}, 3, 6),
}

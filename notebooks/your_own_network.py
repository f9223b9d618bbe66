# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The NTK of your own network
#
# Any pure function $f(\theta, x)$ has an empirical NTK,
# $\Theta(\xi, \bar\xi) = \langle\nabla_\theta f(\xi), \nabla_\theta f(\bar\xi)\rangle$. This notebook computes it for a
# convolutional network in Flax NNX, before and after training on the digits of scikit-learn, and for a GRU in Flax
# Linen. No Jacobian is formed. The library reads the program of $f$. Each layer's part of the kernel is a product of
# two Gram matrices: of the inputs of the layer, and of the gradients $\delta$ that come back to it.

# %%
import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

import ntk

# %matplotlib inline

digits = load_digits()
images = jnp.asarray(digits.images[..., None] / 8 - 1, jnp.float32)  # (1797, 8, 8, 1), pixels in [-1, 1]
labels = jax.nn.one_hot(digits.target, 10)
x, y = images[:100], labels[:100]  # where kernels are evaluated


# %% [markdown]
# ## A network
#
# This is an ordinary NNX module. `nnx.split` separates its graph, its parameters, and all other state. The other state
# is empty here; with batch normalization it would hold the running statistics. Only the parameters are an argument of
# $f$.


# %%
class CNN(nnx.Module):
    def __init__(self, rngs):
        self.conv1 = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.conv2 = nnx.Conv(16, 32, (3, 3), strides=2, rngs=rngs)
        self.hidden = nnx.Linear(512, 64, rngs=rngs)
        self.readout = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.conv1(x))
        x = nnx.relu(self.conv2(x))
        x = nnx.relu(self.hidden(x.reshape(len(x), -1)))
        return self.readout(x)


graph, fresh, others = nnx.split(CNN(nnx.Rngs(0)), nnx.Param, ...)


def f(params, x):
    return nnx.merge(graph, params, others)(x)


# %% [markdown]
# The kernel on 100 digits is averaged over the ten outputs, which is the default. The table has the rule for each
# parameter: `gram` multiplies Gram matrices of operands and of $\delta$, and `gradient` computes the gradients of
# this layer alone. The library takes the rule with fewer operations.

# %%
theta = ntk.empirical_ntk(f, fresh, x)
print("Θ:", theta.shape, theta.dtype, "\n")
print(ntk.explain_empirical(f, fresh, x))

# %% [markdown]
# ## Training
#
# 300 steps of Adam on the cross-entropy of the first 1500 digits.


# %%
def loss(params, x, y):
    return optax.softmax_cross_entropy(f(params, x), y).mean()


@jax.jit
def train(params, key):
    optimizer = optax.adam(1e-3)

    def step(carry, key):
        params, state = carry
        batch = jax.random.choice(key, 1500, (64,))
        value, gradient = jax.value_and_grad(loss)(params, images[batch], labels[batch])
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), value

    (params, _), values = jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(key, 300))
    return params, values


trained, losses = train(fresh, jax.random.key(1))
accuracy = jnp.mean(f(trained, images[1500:]).argmax(1) == digits.target[1500:])
print(f"loss {losses[0]:.2f} → {losses[-1]:.2f}, accuracy on the other 297 digits {accuracy:.3f}")

# %% [markdown]
# ## The spectrum, before and after
#
# Gradient flow on the squared loss learns along the eigenvectors of $\Theta$, each at a rate proportional to its
# eigenvalue. The kernel of such a narrow network moves in training. A larger share of its trace is in few directions,
# so the effective rank (the exponential of the spectrum's entropy) falls. `target_alignment` is the cosine between the
# centred kernel and that of the labels, $yy^\top$.

# %%
kernels = {"fresh": theta, "trained": ntk.empirical_ntk(f, trained, x)}
figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
for name, kernel in kernels.items():
    spectrum = ntk.eigenvalues(kernel)
    axis.semilogy(np.arange(1, len(spectrum) + 1), spectrum / spectrum.sum(), label=name)
    print(
        f"{name:8} effective rank {ntk.effective_rank(kernel):5.2f}"
        f"   alignment with the labels {ntk.target_alignment(kernel, y):.3f}"
    )
axis.set_xlabel("index $i$")
axis.set_ylabel("eigenvalue $\\lambda_i / \\mathrm{tr}\\,\\Theta$")
axis.legend()
plt.show()
print(f"alignment of the two kernels {ntk.alignment(*kernels.values()):.3f}")

# %% [markdown]
# ## Layer by layer
#
# The kernel is a sum over parameters. `per_layer=True` returns the terms, in a pytree like the parameters.


# %%
def shares(params):
    """Each parameter's share of the trace of the kernel."""
    parts = ntk.empirical_ntk(f, params, x, per_layer=True)
    traces = {"/".join(path): jnp.trace(part) for path, part in nnx.to_flat_state(parts)}
    return {path: trace / sum(traces.values()) for path, trace in traces.items()}


figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
for offset, (name, params) in zip((-0.2, 0.2), {"fresh": fresh, "trained": trained}.items(), strict=True):
    share = shares(params)
    axis.bar(np.arange(len(share)) + offset, share.values(), width=0.4, label=name)
axis.set_xticks(range(len(share)), share.keys(), rotation=45, ha="right")
axis.set_ylabel("share of tr $\\Theta$")
axis.legend()
plt.show()

# %% [markdown]
# `param_filter` chooses parameters by their paths, and the kernel is taken over these alone. Over the read-out it
# is $h \cdot \bar h + 1$, where $h$ are the features in the last hidden layer: the kernel of a linear model on
# these features.

# %%
last = ntk.empirical_ntk(f, trained, x, param_filter=lambda path: path.startswith("readout"))
print(f"alignment with the labels, last layer alone {ntk.target_alignment(last, y):.3f}")

# %% [markdown]
# ## Without the kernel
#
# For many inputs, $\Theta v$ takes a backward and a forward pass, without the kernel. It is a sum over all pairs of
# outputs, without an average. `trace_axes=()` gives the kernel in this form, (N, N, 10, 10).

# %%
v = jax.random.normal(jax.random.key(2), (len(x), 10))
product = ntk.ntk_vector_product(f, trained, x, None, v)
whole = ntk.empirical_ntk(f, trained, x, trace_axes=())
expected = jnp.einsum("nmop,mp->no", whole, v, precision="highest")
difference = jnp.abs(product - expected).max() / jnp.abs(expected).max()
print(f"kernel {whole.shape}, relative difference of Θv {difference:.1e}")

everything = ntk.ntk_vector_product(f, trained, images, None, labels, batch_size=256)  # Θ would be 17970 × 17970
print("Θ(all digits) · labels:", everything.shape)

# %% [markdown]
# ## The linear model behind the kernel
#
# `linearize` is the first-order Taylor polynomial of $f$ in its parameters, the model whose training the NTK
# describes. Its error is of second order in the step. Relative to the change of $f$ it is of first order.

# %%
f_lin = jax.jit(ntk.linearize(f, trained))
gradient = jax.grad(loss)(trained, x, y)
for size in (1.0, 0.1, 0.01):
    moved = jax.tree.map(lambda value, slope, size=size: value - size * slope, trained, gradient)
    change = f(moved, x) - f(trained, x)
    error = jnp.linalg.norm(f_lin(moved, x) - f(moved, x)) / jnp.linalg.norm(change)
    print(f"step {size:5}: f changes by {jnp.linalg.norm(change):8.2e}, relative error of f_lin {error:.1e}")

# %% [markdown]
# ## A recurrent network
#
# A GRU in Linen reads each image row by row. Its gates use the same weights at all eight times, inside a scan.
# Their part of the kernel is made of Gram matrices over all pairs of times.


# %%
class Reader(nn.Module):
    @nn.compact
    def __call__(self, rows):
        states = nn.RNN(nn.GRUCell(64))(rows)
        return nn.Dense(10)(states[:, -1])


rows = x[..., 0]  # (100, 8 times, 8 pixels)
reader = Reader()
variables = reader.init(jax.random.key(3), rows)
theta_gru = ntk.empirical_ntk(reader.apply, variables, rows)
print(ntk.explain_empirical(reader.apply, variables, rows), "\n")
print(
    f"effective rank {ntk.effective_rank(theta_gru):.2f}   alignment with the labels"
    f" {ntk.target_alignment(theta_gru, y):.3f}, with the fresh CNN's kernel {ntk.alignment(theta_gru, theta):.3f}"
)

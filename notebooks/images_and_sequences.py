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
# # Images and sequences
#
# Vectors of a tensor program may have position axes: the pixels of an image, the steps of a sequence. This notebook
# writes a convolutional network over 28×28 images and a transformer over 64 positions, each in ten lines, and computes
# their infinite-width kernels in seconds. The images are the digits of scikit-learn, enlarged.

# %%
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import ntk

# %matplotlib inline

digits = load_digits()
small = jnp.asarray((digits.images - digits.data.mean()) / digits.data.std(), jnp.float32)  # (1797, 8, 8)
images = jax.image.resize(small, (len(small), 28, 28), "linear")[..., None]


def timed(name, program, x):
    start = time.perf_counter()
    kernel = ntk.infinite_ntk(program, x).block_until_ready()
    print(f"{name}: kernel of shape {kernel.shape}, {time.perf_counter() - start:.1f} s with compilation")
    return kernel


# %% [markdown]
# ## A convolutional network
#
# Strides, a skip connection, and a read-out with a weight for each position.


# %%
@ntk.tensor_program
def residual_cnn(net, x, *, w_std=2.0**0.5, b_std=0.1):
    phi = net.phi("relu")
    z = net.convolution("stem", (3, 3), w_std, strides=(2, 2)) @ x
    for block in (1, 2):
        inner = phi(net.convolution(f"a{block}", (3, 3), w_std) @ phi(z) + net.bias(f"b{block}", b_std))
        z = z + net.convolution(f"c{block}", (3, 3), w_std) @ inner
    return net.output("v") @ phi(z)


chosen = slice(0, 400)
targets = jax.nn.one_hot(digits.target[chosen], 10) - 0.1
kernels = {
    "CNN": timed("CNN, 28×28", residual_cnn, images[chosen]),
    "MLP": timed("MLP, 784 entries", ntk.MLP(depth=2, w_std=2.0**0.5), images[chosen].reshape(400, -1)),
}

# %% [markdown]
# ## A transformer over 64 positions
#
# The 64 pixels of the small images are the positions, with a trained embedding of each position. The keys are also the
# queries. Scores are averages over coordinates, so the limit is exact.


# %%
@ntk.tensor_program
def transformer(net, x, *, depth=2, w_std=2.0**0.5, epsilon=1e-3):
    norm, phi = ntk.architectures.layer_norm, net.phi("relu")
    z = net.input_matrix("u") @ x + net.bias("places", axes=(len(x),))
    for block in range(depth):
        k, v = net.matrix(f"k{block}") @ z, net.matrix(f"v{block}") @ z
        z = norm(net, z + net.softmax((k[:, None] * k[None]).mean()) @ v, epsilon)
        z = norm(net, z + net.matrix(f"out{block}", w_std) @ phi(net.matrix(f"in{block}", w_std) @ z), epsilon)
    return net.output("v") @ z


tokens = small[chosen].reshape(400, 64, 1)
kernels["transformer"] = timed("transformer, 64 positions", transformer, tokens)

# %% [markdown]
# ## Learning with these kernels
#
# Ridge regression on the ten classes, with few labels.

# %%
counts = [25, 50, 100, 200]
plt.figure(figsize=(4.5, 3))
for (name, kernel), marker in zip(kernels.items(), "os^", strict=True):
    errors = []
    for count in counts:
        train, test = slice(0, count), slice(200, 400)
        ridge = 1e-4 * jnp.trace(kernel[train, train]) / count
        alpha = jnp.linalg.solve(kernel[train, train] + ridge * jnp.eye(count), targets[train])
        errors.append(np.mean(np.argmax(kernel[test, train] @ alpha, axis=1) != digits.target[test]))
    plt.plot(counts, errors, marker + "-", label=name)
    print(name, [f"{error:.3f}" for error in errors])
plt.xscale("log", base=2)
plt.xticks(counts, counts)
plt.xlabel("labels")
plt.ylabel("test error")
plt.legend(frameon=False)
plt.tight_layout()

# %% [markdown]
# ## The same program at finite width
#
# The empirical kernel of one network approaches the limit as the width grows.

# %%
x = images[:4]
limit = ntk.infinite_ntk(residual_cnn, x)
for width in (8, 32):
    model = ntk.finite(residual_cnn, width)

    def error(key, model=model):
        theta = ntk.empirical_ntk(model.apply, model.init(key, x), x)
        return jnp.linalg.norm(theta - limit) / jnp.linalg.norm(limit)

    errors = jax.lax.map(error, jax.random.split(jax.random.key(0), 8))
    print(f"width {width}: relative error of one network {float(jnp.median(errors)):.2f}")

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
# # The NTK of a new architecture
#
# A network is written once, as a *tensor program*: a Python function over matrices, vectors and coordinate-wise
# functions. Yang's theorem then gives its infinite-width NTK, and the library computes it. This notebook takes a
# highway network (Srivastava, Greff, Schmidhuber 2015), whose gates have no closed form, and the digits of
# scikit-learn.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import ntk

# %matplotlib inline

digits = load_digits()
images = jnp.asarray((digits.data - digits.data.mean()) / digits.data.std(), jnp.float32)  # (1797, 64)
x = images[:6]


# %% [markdown]
# ## Written once
#
# `net` makes parameters by name, and functions from a name or from a JAX function of scalars. `x` is one input. The
# bias of the gate is an option of the program. Kernels can be differentiated in it.


# %%
@ntk.tensor_program
def highway(net, x, *, depth=2, carry=1.0):
    z = net.input_matrix("u") @ x
    gate, phi = net.phi("sigmoid"), net.phi("relu")
    for layer in range(depth):
        transform = gate(net.matrix(f"t{layer}") @ z - carry)
        z = transform * phi(net.matrix(f"w{layer}", std=2.0**0.5) @ z) + (1.0 - transform) * z
    return net.output("v") @ z


print(ntk.check_gia(highway, x))

# %% [markdown]
# ## Infinite width
#
# Each entry is an average over sampled coordinates, on quasi-Monte-Carlo points, and comes with its standard error.

# %%
limit = ntk.infinite_kernels(highway, x, samples=2**14)
print(np.array2string(np.asarray(limit.ntk), precision=3))
print(f"largest standard error: {float(limit.standard_error.ntk.max()):.4f}")

# %% [markdown]
# ## Finite width
#
# The same program at width $n$, many seeds at once. The error of its NTK falls like $n^{-1/2}$.

# %%
widths, seeds = [32, 64, 128, 256], jax.random.split(jax.random.key(0), 16)
errors = []
for width in widths:
    model = ntk.finite(highway, width)

    def error(key, model=model):
        theta = ntk.empirical_ntk(model.apply, model.init(key, x), x)
        return jnp.linalg.norm(theta - limit.ntk) / jnp.linalg.norm(limit.ntk)

    errors.append(jax.lax.map(error, seeds))

medians = np.median(np.array(errors), axis=1)
slope = np.polyfit(np.log(widths), np.log(medians), 1)[0]
plt.figure(figsize=(4.5, 3))
plt.loglog(widths, medians, "o-", label=f"median of {len(seeds)} networks, slope {slope:.2f}")
plt.loglog(widths, medians[0] * (np.array(widths) / widths[0]) ** -0.5, "k--", label="$n^{-1/2}$")
plt.xscale("log", base=2)
plt.xlabel("width $n$")
plt.ylabel(r"relative error of $\Theta$")
plt.legend(frameon=False)
plt.tight_layout()

# %% [markdown]
# ## What the check is for
#
# The theorem needs the backward pass to be independent of the forward weights. The check looks for this. If it fails,
# the program is refused, and the message names the line at fault.


# %%
@ntk.tensor_program
def averaged(net, x):
    h = net.matrix("w") @ (net.input_matrix("u") @ x + 1.0)
    return (h * h).mean()


try:
    ntk.infinite_kernels(averaged, x)
except ValueError as error:
    print(error)

# %% [markdown]
# ## A kernel for learning
#
# Regression with the NTK of the highway network on two classes. The carry bias decides how close the network is
# to a linear one.

# %%
chosen = np.flatnonzero(np.isin(digits.target, (3, 8)))[:200]
inputs, targets = images[chosen], jnp.asarray(np.where(digits.target[chosen] == 3, 1.0, -1.0), jnp.float32)
shallow = highway(depth=1)
theta = ntk.infinite_ntk(shallow, inputs, samples=2**12)
train, test = slice(0, 100), slice(100, 200)
ridge = 1e-3 * jnp.trace(theta[train, train]) / 100
alpha = jnp.linalg.solve(theta[train, train] + ridge * jnp.eye(100), targets[train])
accuracy = jnp.mean(jnp.sign(theta[test, train] @ alpha) == targets[test])
print(f"test accuracy of kernel regression, 3 against 8: {float(accuracy):.2f}")

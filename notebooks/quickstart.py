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
# # Kernels of a network, infinite and finite
#
# A network is described once. `infinite_kernels` computes its kernels in the limit of infinite width: the neural
# tangent kernel (NTK), the covariance of its outputs (NNGP), and second moments of activations and gradients in each
# layer (C and D). `empirical_kernels` measures the same quantities at finite width. Both results have one layout, so
# that they can be compared entry by entry. The data are the handwritten digits that come with scikit-learn.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import ntk

# %matplotlib inline

images = load_digits().images[:12].astype(np.float32)
x = images.reshape(12, 64)
x = jnp.asarray((x - x.mean()) / x.std())  # ξ·ξ/d is about 1

# %% [markdown]
# ## The limit
#
# Three hidden layers of ReLU with $\sigma_w = \sqrt 2$, the critical value at which variances neither grow nor shrink.

# %%
net = ntk.MLP(depth=3, activation="relu", w_std=2**0.5, b_std=0.1, v_std=1.0)
limit = ntk.infinite_kernels(net, x)
print("NTK", limit.ntk.shape, "NNGP", limit.nngp.shape, "C", limit.C.shape, "D", limit.D.shape)

# %%
figure, axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
for axis, kernel, title in zip(axes, (limit.nngp, limit.ntk), ("NNGP $\\Sigma$", "NTK $\\Theta$"), strict=True):
    figure.colorbar(axis.imshow(kernel), ax=axis)
    axis.set_title(f"{title} of twelve digits")
plt.show()

# %% [markdown]
# ## One finite network
#
# The same description becomes a Flax model. All parameters are standard normal, and the forward pass multiplies them by
# their scales.

# %%
model = ntk.finite(net, width=512)
params = model.init(jax.random.key(0), x)
print("f(x):", model.apply(params, x)[:3])

measured = ntk.empirical_kernels(net, params, x)  # layer by layer, no Jacobian
theta = ntk.empirical_ntk(model.apply, params, x)  # of any f(params, x), by the rules of its operations
print("two ways to the NTK differ by", float(jnp.abs(measured.ntk - theta).max() / theta.max()))
print("distance to the limit:", float(jnp.linalg.norm(theta - limit.ntk) / jnp.linalg.norm(limit.ntk)))

# %% [markdown]
# ## C and D converge
#
# There are thirty-two networks at each width, all in one compiled program. Each line is the relative error of one layer
# in Frobenius norm, as a median over networks. The dashed line falls like $n^{-1/2}$.


# %%
def errors(width):
    """Relative errors of every layer's C and D, shape (networks, L + 1) and (networks, L)."""
    model = ntk.finite(net, width=width)

    def one(key):
        found = ntk.empirical_kernels(net, model.init(key, x), x)

        def distance(a, b):
            return jnp.linalg.norm(a - b, axis=(1, 2)) / jnp.linalg.norm(b, axis=(1, 2))

        return distance(found.C, limit.C), distance(found.D, limit.D)

    return jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(jax.random.key(1), 32))


widths = 2 ** np.arange(5, 11)
C_errors, D_errors = (np.stack(rows) for rows in zip(*map(errors, widths), strict=True))

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
for axis, name, values in ((axes[0], "C", C_errors[:, :, 1:]), (axes[1], "D", D_errors)):
    for layer, median in enumerate(np.median(values, axis=1).T, start=1):
        axis.loglog(widths, median, "o-", label=f"${name}^{layer}$")
    axis.loglog(widths, 2.0 / np.sqrt(widths), "k--", label="$n^{-1/2}$")
    axis.set_xscale("log", base=2)
    axis.set_xlabel("width $n$")
    axis.legend()
axes[0].set_ylabel("relative error")
plt.show()

slopes = np.polyfit(np.log(widths), np.log(np.median(D_errors, axis=1)), 1)[0]
print("slopes of D^1, D^2, D^3:", slopes.round(2))

# %% [markdown]
# ## A recurrent network, reading an image row by row
#
# For an RNN, C and D have an entry for every pair of times.

# %%
rows = jnp.asarray((images - images.mean()) / images.std())  # 12 sequences of 8 rows
rnn = ntk.RNN(activation="erf", w_std=1.2, u_std=1.0, b_std=0.1, pooling="mean")
print("C:", ntk.infinite_kernels(rnn, rows).C.shape, " NTK alone:", ntk.infinite_ntk(rnn, rows).shape)

# %% [markdown]
# ## An activation of your own, and a gradient through the kernel
#
# The dual maps $E\,\varphi(u)\varphi(\bar u)$ and $E\,\varphi'(u)\varphi'(\bar u)$ of any function are computed by
# quadrature, with an estimate of the error. Kernels can be differentiated in the standard deviations of the network.

# %%
swish = ntk.activation(lambda z: z * jax.nn.sigmoid(1.702 * z))
print("E φ(u)φ(ū) =", swish.dual(1.0, 0.5, 1.0), "± ", swish.error_estimate(1.0, 0.5, 1.0)[0])


def trace(w_std):
    """The trace of the NTK as a function of σ_w."""
    return jnp.trace(ntk.infinite_ntk(ntk.MLP(depth=3, activation="relu", w_std=w_std), x))


print("d tr Θ / d σ_w =", jax.grad(trace)(1.4))

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
# # A training run, predicted before it happens
#
# In the limit of infinite width a network trained by gradient descent follows a linear differential equation,
# $\partial_t f = -\eta\,\Theta\,\nabla_f L(f)$, whose kernel $\Theta$ is known before training. Its whole
# trajectory can therefore be written down beforehand. This notebook does so for a network of width 1024 on digits,
# trains the network, and draws both in one plot.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_digits

import ntk
from ntk import dynamics

# %matplotlib inline

digits = load_digits()
images = digits.images.reshape(-1, 64).astype(np.float32)
images = (images - images.mean()) / images.std()
odd = np.where(digits.target % 2 == 1, 1.0, -1.0).astype(np.float32)
x, y = jnp.asarray(images[:30]), jnp.asarray(odd[:30])
x_test, y_test = jnp.asarray(images[1500:1600]), jnp.asarray(odd[1500:1600])

net = ntk.MLP(depth=2, activation="erf", w_std=1.5, b_std=0.0)
model = ntk.finite(net, width=1024)
params = model.init(jax.random.key(0), x)

# %% [markdown]
# ## What the kernel says
#
# Its eigenvalues are the rates at which the error along each eigenvector decays. The largest one gives the largest
# learning rate at which gradient descent is stable.

# %%
theta, theta_test = ntk.infinite_ntk(net, x), ntk.infinite_ntk(net, x_test, x)
print(dynamics.condition_report(theta))
rate = 0.25 * float(dynamics.max_learning_rate(theta))
print(f"learning rate {rate:.4f}")

# %% [markdown]
# ## The prediction
#
# The prediction takes one thing from the network: its outputs before the first step.

# %%
num_steps, every = 500, 2
steps = jnp.arange(0, num_steps + 1, every)
start, start_test = model.apply(params, x), model.apply(params, x_test)
predict = dynamics.squared_loss_descent(theta, y, learning_rate=rate)
predicted = predict(steps, start, start_test, theta_test)
print("outputs on training points at all times:", predicted.train.shape, "on test points:", predicted.test.shape)

# %% [markdown]
# ## The training run
#
# The network is trained, and so is its linearization $f(\theta_0) + \nabla f(\theta_0)\cdot(\theta - \theta_0)$.
# The kernel of the linearization is that of the network before training, and not the limit.

# %%
optimizer = optax.sgd(rate)
trained = dynamics.train(model.apply, params, x, y, optimizer, num_steps, x_test=x_test, every=every)
own = ntk.empirical_ntk(model.apply, params, jnp.concatenate([x, x_test]), x)
linear = dynamics.squared_loss_descent((own[:30] + own[:30].T) / 2, y, learning_rate=rate)
linear = linear(steps, start, start_test, own[30:])

# %%
figure, axes = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
for number, color in zip((0, 1, 2), ("C0", "C1", "C2"), strict=True):
    lines = {"-": trained.fx_test, ":": linear.test, "--": predicted.test}
    for (line, values), label in zip(lines.items(), ("network", "linearization", "prediction"), strict=True):
        axes[0].plot(steps, values[:, number], line, color=color, label=label if number == 0 else None)
axes[0].set_xscale("symlog", linthresh=10)
axes[0].set(xlim=(0, num_steps), xlabel="step", ylabel="$f_t(x)$", title="Outputs on three new digits")
axes[0].legend()

axes[1].semilogy(steps, trained.loss / len(y), label="network")
axes[1].semilogy(steps, jnp.mean((predicted.train - y) ** 2, axis=1) / 2, "--", label="prediction")
axes[1].set(xlabel="step", ylabel="training loss", title="Training loss")
axes[1].legend()

eigenvalues, vectors = jnp.linalg.eigh(theta)
for number in (0, 1, 4, 12):
    eigenvalue, vector = eigenvalues[-1 - number], vectors[:, -1 - number]
    left = jnp.abs((trained.fx_train - y) @ vector) / jnp.abs((start - y) @ vector)
    (points,) = axes[2].semilogy(steps, left, ".", markersize=3, label=f"$i = {number + 1}$")
    axes[2].semilogy(steps, (1 - rate * eigenvalue) ** steps, color=points.get_color())
axes[2].set(
    xlabel="step", xlim=(0, 150), ylim=(1e-2, 1.5), title=r"Error along eigenvectors, and $(1-\eta\lambda_i)^t$"
)
axes[2].legend()
plt.show()

# %% [markdown]
# ## Every network at once
#
# Over random initializations, outputs are Gaussian before training. With squared loss they stay Gaussian, and their
# mean and variance have a closed form. The band is two standard deviations wide to either side. It describes
# infinitely many networks, and none of them has to be trained.

# %%
kernels, kernels_test = ntk.infinite_kernels(net, x), ntk.infinite_kernels(net, x_test[:3], x)
prior = ntk.infinite_kernels(net, x_test[:3]).nngp
ensemble = dynamics.squared_loss_ensemble(kernels, y, learning_rate=rate, steps=True)(steps, kernels_test, prior)

figure, axes = plt.subplots(1, 3, figsize=(12, 3), sharey=True, layout="constrained")
for number, axis in enumerate(axes):
    mean, std = ensemble.mean[:, number], ensemble.std[:, number]
    axis.fill_between(steps, mean - 2 * std, mean + 2 * std, alpha=0.2, linewidth=0)
    axis.plot(steps, mean, label="mean of infinitely many")
    axis.plot(steps, trained.fx_test[:, number], color="black", label="our network")
    axis.axhline(float(y_test[number]), color="0.6", linestyle="--", label="target")
    axis.set_xscale("symlog", linthresh=10)
    axis.set(xlim=(0, num_steps), xlabel="step", title=f"Digit {digits.target[1500 + number]}")
axes[0].set_ylabel("$f_t(x)$")
axes[0].legend()
plt.show()

# %% [markdown]
# ## Cross-entropy
#
# Other losses have no closed form, but the outputs alone follow a differential equation. It is solved
# step by step, as here, or by an ODE solver, `dynamics.loss_flow`.

# %%
labels, loss = (y + 1) / 2, optax.sigmoid_binary_cross_entropy
trained = dynamics.train(model.apply, params, x, labels, optimizer, num_steps, loss=loss, x_test=x_test, every=every)
options = {"learning_rate": rate, "fx_train_0": start, "fx_test_0": start_test, "k_test_train": theta_test}
predicted = dynamics.loss_descent(theta, labels, loss, num_steps, every=every, **options)

figure, axis = plt.subplots(figsize=(4.5, 3.2), layout="constrained")
axis.plot(steps, trained.fx_test[:, :4], color="C0")
axis.plot(steps, predicted.fx_test[:, :4], "--", color="black")
axis.plot([], [], color="C0", label="network")
axis.plot([], [], "--", color="black", label="prediction")
axis.set(xlabel="step", ylabel="$f_t(x)$", title="Cross-entropy: outputs on four new digits")
axis.legend()
plt.show()

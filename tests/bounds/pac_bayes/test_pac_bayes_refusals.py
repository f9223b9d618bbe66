"""Bad arguments of PAC-Bayes bounds: one sentence names the argument, its value and what is expected."""

import jax
import jax.numpy as jnp
import numpy as np
from refusals import COUNT, DELTA, assert_refused, rows

KEY = jax.random.key(0)
W = np.ones(2)
DATA = np.array([[1.0, 0.5], [-1.0, 0.2], [0.3, -2.0]]), np.array([1.0, -1.0, 1.0])


def zero_one(w, data):
    x, y = data
    return jnp.mean(y * (x @ w) <= 0)


def large(w, data):
    return jnp.sum(0 * w) + 3.0


def vector(w, data):
    return w


def pac_bayes(bounds, risk=zero_one, **changes):
    options = {"num_samples": 3, "delta": 0.1, "sigmas": [0.1]} | changes
    return bounds.pac_bayes_gaussian(risk, W, W, DATA, KEY, **options)


REFUSED = [
    (
        "seeger_bound: risk",
        lambda bounds: bounds.seeger_bound([0.1, 0.2], [1.0, 2.0, 3.0], 10, 0.1),
        ValueError,
        r"risk has shape \(2,\), kl has shape \(3,\), .*; expected shapes that broadcast against each other",
    ),
    (
        "seeger_bound: risk",
        lambda bounds: bounds.seeger_bound(1.2, 1.0, 10, 0.1),
        ValueError,
        "risk is 1.2; expected a number from 0 to 1",
    ),
    (
        "seeger_bound: kl",
        lambda bounds: bounds.seeger_bound(0.1, -1.0, 10, 0.1),
        ValueError,
        "kl is -1.0; expected a number of at least 0",
    ),
    (
        "mcallester_bound: num_samples",
        lambda bounds: bounds.mcallester_bound(0.1, 1.0, 0, 0.1),
        ValueError,
        f"num_samples is 0; {COUNT}",
    ),
    (
        "mcallester_bound: delta",
        lambda bounds: bounds.mcallester_bound(0.1, 1.0, 10, 1.0),
        ValueError,
        f"delta is 1.0; {DELTA}",
    ),
    (
        "gaussian_kl: prior",
        lambda bounds: bounds.gaussian_kl(W, W[:1], 1.0, 1.0),
        ValueError,
        r"prior has shapes \(1,\); expected those of params, \(2,\)",
    ),
    (
        "gaussian_kl: params",
        lambda bounds: bounds.gaussian_kl({}, {}, 1.0, 1.0),
        ValueError,
        "params is {}; expected a pytree of floating-point arrays",
    ),
    (
        "gaussian_kl: params",
        lambda bounds: bounds.gaussian_kl(W.astype(int), W, 1.0, 1.0),
        TypeError,
        "params has dtype int64; expected a real floating-point",
    ),
    (
        "gaussian_kl: params",
        lambda bounds: bounds.gaussian_kl(np.nan * W, W, 1.0, 1.0),
        ValueError,
        "params holds 2 entries that are NaN or infinite; expected",
    ),
    (
        "gaussian_kl: prior",
        lambda bounds: bounds.gaussian_kl(W, np.inf * W, 1.0, 1.0),
        ValueError,
        "prior holds 2 entries that are NaN or infinite; expected",
    ),
    (
        "gaussian_kl: params",
        lambda bounds: bounds.gaussian_kl(W.astype("float16"), W, 1.0, 1.0),
        TypeError,
        "params has dtype float16; expected float32 or flo",
    ),
    (
        "posterior_risks: params",
        lambda bounds: bounds.posterior_risks(zero_one, np.nan * W, DATA, 1.0, KEY),
        ValueError,
        "params holds 2 entries that are NaN",
    ),
    (
        "gaussian_kl: sigma",
        lambda bounds: bounds.gaussian_kl(W, W, 0.0, 1.0),
        ValueError,
        "sigma is 0.0; expected one finite positive number",
    ),
    (
        "gaussian_kl: prior_sigma",
        lambda bounds: bounds.gaussian_kl(W, W, 1.0, -1.0),
        ValueError,
        "prior_sigma is -1.0; expected one finite positive number",
    ),
    (
        "gaussian_kl: sigma",
        lambda bounds: bounds.gaussian_kl(W, W, W, 1.0),
        ValueError,
        r"sigma has shape \(2,\); expected one finite positive number",
    ),
    (
        "posterior_risks: risk",
        lambda bounds: bounds.posterior_risks(lambda w, x: jnp.sum(w), W, DATA, 9.0, KEY),
        ValueError,
        "risk is .*; expected a number from 0",
    ),
    (
        "posterior_risks: risk",
        lambda bounds: bounds.posterior_risks(lambda w, x: jnp.nan * w[0], W, DATA, 1.0, KEY),
        ValueError,
        "risk is nan; expected a number",
    ),
    (
        "posterior_risks: risk",
        lambda bounds: bounds.posterior_risks(zero_one, W, W, 1.0, KEY),
        ValueError,
        r"risk\(params, data\) fails with ValueError: .*; expected a function of params and data",
    ),
    (
        "posterior_risks: risk",
        lambda bounds: bounds.posterior_risks(None, W, DATA, 1.0, KEY),
        TypeError,
        "risk is None; expected a function",
    ),
    (
        "posterior_risks: risk",
        lambda bounds: bounds.posterior_risks(vector, W, DATA, 1.0, KEY),
        ValueError,
        r"risk returns \(2,\); expected a scalar",
    ),
    (
        "posterior_risks: key",
        lambda bounds: bounds.posterior_risks(zero_one, W, DATA, 1.0, 5),
        TypeError,
        "key is 5; expected one PRNG key",
    ),
    (
        "posterior_risks: num_draws",
        lambda bounds: bounds.posterior_risks(zero_one, W, DATA, 1.0, KEY, num_draws=0),
        ValueError,
        "num_draws is 0; expected an integer",
    ),
    (
        "pac_bayes_gaussian: sigmas",
        lambda bounds: pac_bayes(bounds, sigmas=1.0),
        ValueError,
        r"sigmas has shape \(\); expected \(K,\)",
    ),
    (
        "pac_bayes_gaussian: sigmas",
        lambda bounds: pac_bayes(bounds, sigmas=[0.1, 0.0]),
        ValueError,
        "sigmas is 0.0; expected a positive finite number",
    ),
    (
        "pac_bayes_gaussian: delta",
        lambda bounds: pac_bayes(bounds, delta=1.0),
        ValueError,
        "delta is 1.0; expected a number between 0 and 1",
    ),
    (
        "pac_bayes_gaussian: monte_carlo_share",
        lambda bounds: pac_bayes(bounds, monte_carlo_share=0.0),
        ValueError,
        "monte_carlo_share is 0.0; expected a number between",
    ),
    (
        "pac_bayes_gaussian: num_samples",
        lambda bounds: pac_bayes(bounds, num_samples=0),
        ValueError,
        "num_samples is 0; expected an integer of at least 1",
    ),
    (
        "pac_bayes_gaussian: num_draws",
        lambda bounds: pac_bayes(bounds, num_draws=1),
        ValueError,
        "num_draws is 1; expected an integer of at least 2",
    ),
    (
        "pac_bayes_gaussian: risk",
        lambda bounds: pac_bayes(bounds, risk=large),
        ValueError,
        "risk is 3.0; expected a number from 0 to 1",
    ),
]


@rows(REFUSED)
def test_refused(plain_bounds, call, exception, sentence):
    assert_refused(lambda: call(plain_bounds), exception, sentence)

"""bounds.report: its rows against direct calls, its tables, what it leaves out, what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM, SOLVED

import bounds
import ntk
from bounds.reports.summary import report
from bounds.reports.tables import LeftOut, Report, ReportRow

NET = ntk.MLP(depth=1, activation="relu", b_std=0.0)
MODEL = ntk.finite(NET, width=8)
N, N_TEST = 200, 100


@pytest.fixture(scope="module")
def data():
    x = jax.random.normal(jax.random.key(0), (N + N_TEST, 3), jnp.float32)
    return x, jnp.where(x[:, 0] + 0.3 * x[:, 1] ** 2 > 0, 1, -1)


@pytest.fixture(scope="module")
def prior(data):
    return MODEL.init(jax.random.key(1), data[0])


@pytest.fixture(scope="module")
def params(prior):
    # A network with some right and some wrong labels, without the time of training.
    return jax.tree.map(lambda w: w + 0.5, prior)


@pytest.fixture(scope="module")
def arguments(data, params, prior):
    x, labels = data
    gram = ntk.infinite_ntk(NET, x[:N])
    test = {"x_test": x[N:], "labels_test": labels[N:]}
    pac_bayes = {"prior": prior, "sigmas": (0.1, 0.5), "num_draws": 20, "key": jax.random.key(2)}
    kernel = {"gram": gram, "ridge": 1.0}
    return (MODEL.apply, params, x[:N], labels[:N]), test | pac_bayes | kernel | {"network": NET, "delta": 0.1}


@pytest.fixture(scope="module")
def found(arguments):
    positional, options = arguments
    return report(*positional, **options)


def rows(found):
    return {row.name: row for row in found}


def test_errors_are_counted(found, arguments):
    (_, params, x, labels), options = arguments
    wrong = np.sign(MODEL.apply(params, x)) != np.asarray(labels)
    wrong_test = np.sign(MODEL.apply(params, options["x_test"])) != np.asarray(options["labels_test"])
    assert 0 < wrong.sum() < N
    assert (found.num_samples, found.num_test) == (N, N_TEST)
    assert found.train_error == pytest.approx(wrong.mean(), abs=CLOSED_FORM["float64"])
    assert found.test_error == pytest.approx(wrong_test.mean(), abs=CLOSED_FORM["float64"])


def test_every_bound_is_the_function_of_its_name(found, arguments):
    (_, _, _, labels), options = arguments
    n_errors = round(found.test_error * N_TEST)
    variance = np.var([1.0] * n_errors + [0.0] * (N_TEST - n_errors), ddof=1)
    d_vc = bounds.network_vc_bounds(bounds.mlp_layers(NET, 3, 8), "relu").upper
    bits = 32 * (3 * 8 + 8 + 8)  # with the biases, which are in the tree although they have no effect
    expected = {
        "binomial tail, test data": bounds.binomial_tail_inversion(n_errors, N_TEST, 0.1),
        "Hoeffding, test data": n_errors / N_TEST + np.sqrt(np.log(10) / (2 * N_TEST)),
        "empirical Bernstein, test data": n_errors / N_TEST
        + bounds.empirical_bernstein_epsilon(variance, N_TEST, 0.1, two_sided=False),
        "Hoeffding, all parameters": found.train_error + np.sqrt((np.log(10) + bits * np.log(2)) / (2 * N)),
        "VC": found.train_error + bounds.vc_epsilon(N, d_vc, 0.1, growth="sauer"),
        "VC, Rademacher penalty": found.train_error + bounds.rademacher_penalty_epsilon(N, d_vc, 0.1, growth="sauer"),
        "VC, Parrondo–van den Broek": found.train_error
        + bounds.parrondo_van_den_broek_epsilon(N, d_vc, 0.1, growth="sauer"),
        "VC, Devroye": found.train_error + bounds.devroye_epsilon(N, d_vc, 0.1, growth="sauer"),
        "kernel ridge regression, trace": bounds.kernel_ridge_margin_bound(options["gram"], labels, 1.0, 0.1).bound,
    }
    assert {name: rows(found)[name].value for name in expected} == pytest.approx(expected, rel=SOLVED["float64"])
    # The same draws from the same key; the bound is a function of their average.
    pac_bayes = rows(found)["PAC-Bayes, Gaussian noise"]
    assert bounds.seeger_bound(pac_bayes.empirical_risk, 0.0, N, 0.1) < pac_bayes.value < 1.01


def test_margin_bounds_are_at_a_margin_of_the_sample(found, arguments):
    (_, params, x, labels), _ = arguments
    margins = bounds.classification_margins(MODEL.apply(params, x), labels)
    weights = bounds.ntk_weight_matrices(NET, params)
    deciles = np.quantile(margins[margins > 0], np.linspace(0.1, 1, 10))
    for name, bound in (
        ("Frobenius norms and margins", bounds.golowich_margin_bound),
        ("spectral norms and margins", bounds.spectral_margin_bound),
    ):
        best = min(bound(margins, weights, x, gamma, 0.1).bound for gamma in deciles)
        assert rows(found)[name].value == pytest.approx(best, rel=1e-6)  # float32 margins, quantiles of another dtype


def test_measures_are_the_functions_of_their_names(found, arguments):
    (_, params, _, labels), options = arguments
    weights = bounds.ntk_weight_matrices(NET, params)
    expected = {
        "spectral complexity": bounds.spectral_complexity(weights),
        "product of spectral norms": np.prod([np.linalg.norm(w, 2) for w in weights.matrices]),
        "path norm": bounds.path_norm(weights),
        "Frobenius norm": np.sqrt(sum(np.linalg.norm(w) ** 2 for w in weights.matrices)),
        "distance from the prior": 0.5 * np.sqrt(3 * 8 + 8 + 8),
        "NTK complexity": bounds.ntk_complexity(options["gram"], labels.astype(jnp.float32), 1.0),
        "local complexity": bounds.local_fixed_point(options["gram"]),
    }
    # Power iteration stops at a residual of 1e-4, whose square is the error.
    assert {row.name: row.value for row in found.measures} == pytest.approx(
        {name: float(value) for name, value in expected.items()}, rel=1e-5
    )


def test_parts_add_up_and_measures_stand_apart(found):
    assert len(found) == len(found.bounds) + len(found.measures) == len(list(found))
    assert [row.kind for row in found] == ["bound"] * len(found.bounds) + ["measure"] * len(found.measures)
    for row in found.bounds:
        parts = [part for part in (row.empirical_risk, row.complexity, row.confidence) if part is not None]
        assert row.value == pytest.approx(sum(parts), rel=CLOSED_FORM["float64"])
        assert row.vacuous == (row.value >= found.guessing_error)
        assert row.source
        assert row.assumptions
    assert {row.vacuous for row in found.bounds} == {True, False}
    for row in found.measures:
        assert row.vacuous is row.empirical_risk is row.complexity is row.confidence is None
    assert not found.left_out


def test_what_does_not_apply_is_left_out_with_a_reason(data):
    x, labels = data
    net = ntk.MLP(depth=1, activation="gelu", b_std=1.0)
    model = ntk.finite(net, width=4, outputs=3)
    params = model.init(jax.random.key(0), x)
    found = report(model.apply, params, x, labels + 1, network=net, gram=jnp.eye(len(x)), ridge=1.0)
    reasons = {entry.name: entry.reason for entry in found.left_out}
    assert reasons == {
        "bounds from test data": "there are none",
        "VC bounds": "they are for one output",
        "Frobenius norms and margins": "it is for networks without biases; this one has b1",
        "spectral norms and margins": "it is for networks without biases; this one has b1",
        "PAC-Bayes, Gaussian noise": "prior is None; it takes parameters that do not depend on the data",
        "kernel ridge regression, trace": "it is for one output and a ridge above 0",
    }
    assert [row.name for row in found.bounds] == ["Hoeffding, all parameters"]
    # yᵀ(2I)⁻¹y of one-hot labels is N/2: √(2 N/2 /N).
    assert rows(found)["NTK complexity"].value == pytest.approx(1.0, rel=1e-5)
    unknown = report(model.apply, params, x, labels + 1)
    assert [entry.name for entry in unknown.left_out][1] == "VC, margin bounds and norms"


def test_a_chain_of_dense_layers_is_known_by_its_activation(data):
    x, labels = data
    weights = [jnp.ones((3, 4), jnp.float32), jnp.ones((4, 1), jnp.float32)]
    params = {f"Dense_{i}": {"kernel": w} for i, w in enumerate(weights)}

    def apply(params, x):
        return jnp.maximum(x @ params["Dense_0"]["kernel"], 0) @ params["Dense_1"]["kernel"][:, 0]

    found = report(apply, params, x, labels, network="relu")
    d_vc = bounds.network_vc_bounds(bounds.DenseLayers(3, (4, 1), (12, 4)), "relu").upper
    assert rows(found)["VC"].assumptions == f"architecture chosen beforehand; d_vc ≤ {d_vc}"
    assert rows(found)["spectral complexity"].value == pytest.approx(float(bounds.spectral_complexity(weights)))


def constant(value):
    """A classifier that ignores its input."""
    return lambda params, x: params["b"] + jnp.full(len(x), value) + 0 * x[:, 0]


@pytest.mark.parametrize(("share", "errors"), [(0.5, 30), (0.5, 35), (0.8, 8), (0.8, 16), (0.9, 30)])
def test_bounds_that_the_most_frequent_class_attains_are_vacuous(share, errors):
    """Of 100 test points some are wrong; E ≤ errors/100 + √(ln 20/200) by Hoeffding, against 1 − share."""
    labels = jnp.where(jnp.arange(1000) < int(1000 * share), 1, -1)
    labels_test = jnp.where(jnp.arange(100) < errors, -1, 1)
    params, x = {"b": jnp.zeros(())}, jnp.zeros((1000, 1))
    found = report(constant(1.0), params, x, labels, x_test=x[:100], labels_test=labels_test)
    assert found.guessing_error == pytest.approx(1 - share, abs=CLOSED_FORM["float64"])
    bound = errors / 100 + np.sqrt(np.log(20) / 200)
    row = rows(found)["Hoeffding, test data"]
    assert row.value == pytest.approx(bound, rel=SOLVED["float64"])
    assert row.vacuous == (bound >= 1 - share)


def test_guessing_among_balanced_classes_errs_on_all_but_one():
    x = jnp.zeros((12, 1))
    scores = {"b": jnp.zeros((3,))}
    found = report(lambda params, x: params["b"][None] + 0 * x, scores, x, jnp.arange(12) % 3)
    assert found.guessing_error == pytest.approx(2 / 3, abs=CLOSED_FORM["float64"])


def test_a_bound_at_its_ceiling_is_marked(found, arguments, data, params):
    """The complexity of the spectral bound is 8 for all large networks, and smaller for one weight and many points."""
    assert [row.name for row in found if row.at_ceiling] == ["spectral norms and margins"]
    assert rows(found)["spectral norms and margins"].complexity == 8
    assert "yes, at its ceiling" in str(found)
    x = jnp.ones((10_000, 1), jnp.float32)

    def apply(params, x):
        return (x @ params["kernel"])[:, 0]

    one = report(apply, {"kernel": jnp.ones((1, 1), jnp.float32)}, x, jnp.ones(10_000, int), network="identity")
    row = rows(one)["spectral norms and margins"]
    assert row.complexity < 8
    assert not row.at_ceiling


def test_an_error_of_1_and_an_infinite_divergence_are_at_their_ceilings(data, prior):
    x, labels = data
    params = jax.tree.map(lambda w: 1e6 + w, prior)
    test = {"x_test": x[:5], "labels_test": jnp.where(MODEL.apply(params, x[:5]) > 0, -1, 1)}
    found = report(
        MODEL.apply, params, x, labels, prior=prior, sigmas=(0.1,), num_draws=2, key=jax.random.key(0), **test
    )
    assert rows(found)["binomial tail, test data"].at_ceiling
    assert rows(found)["PAC-Bayes, Gaussian noise"].at_ceiling
    assert not rows(found)["Hoeffding, test data"].at_ceiling


ROW = ReportRow("VC", "bound", 1.25, 0.05, 1.2, None, "none", "Vapnik 1971", vacuous=True)
MEASURE = ReportRow("path norm", "measure", 12345.678, None, None, None, "norm", "Neyshabur 2015")
SMALL = Report((ROW, MEASURE), (LeftOut("PAC-Bayes", "no prior"),), 0.05, 100, 0.05, 0.4, 0, None)


def test_text():
    assert str(SMALL).splitlines() == [
        "100 training points, error 0.0500.",
        "Each bound holds with probability 0.95 by itself. From 0.4000 on, the error of guessing, it is vacuous.",
        "",
        "bound  value    risk  complexity  confidence  vacuous  assumes",
        "VC      1.25  0.0500      1.2000           –      yes  none",
        "",
        "measure        value  what it is",
        "path norm  1.235e+04  norm",
        "",
        "left out   because",
        "PAC-Bayes  no prior",
    ]


def test_markdown():
    lines = SMALL.to_markdown().splitlines()
    assert lines[2:5] == [
        "| bound | value |   risk | complexity | confidence | vacuous | assumes | source      |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | --- |",
        "| VC    |  1.25 | 0.0500 |     1.2000 |          – |     yes | none    | Vapnik 1971 |",
    ]
    assert "| path norm | 1.235e+04 | norm       | Neyshabur 2015 |" in lines
    assert SMALL._repr_markdown_() == SMALL.to_markdown()


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"delta": 0.0}, ValueError, "delta is 0.0; expected a number between 0 and 1"),
        ({"ridge": -1.0}, ValueError, "ridge is -1.0; expected a finite number of at least 0"),
        ({"x_test": None}, ValueError, "x_test and labels_test come together; expected both or neither"),
        ({"network": "gelu"}, ValueError, "network is 'gelu'; expected one of 'identity', 'relu'"),
        ({"gram": jnp.eye(3)}, ValueError, r"gram has shape \(3, 3\); expected \(200, 200\) for 200 points x"),
        ({"labels_test": jnp.zeros(N_TEST)}, ValueError, "labels_test holds 0.0; expected -1 or 1"),
    ],
)
def test_refusals(plain_bounds, changes, error, sentence, arguments):
    positional, options = arguments
    with pytest.raises(error, match=sentence):
        plain_bounds.report(*positional, **(options | changes))


def test_wrong_types_are_refused_without_checks_of_annotations(plain_bounds, arguments):
    (apply, params, x, labels), options = arguments
    plain_report = plain_bounds.report
    with pytest.raises(TypeError, match=r"network is 3; expected an ntk\.MLP, the name of an activation, or None"):
        plain_report(apply, params, x, labels, network=3)
    with pytest.raises(TypeError, match="key is None; expected one PRNG key"):
        plain_report(apply, params, x, labels, prior=options["prior"])
    with pytest.raises(TypeError, match="report is traced by JAX"):
        jax.jit(lambda x: plain_report(apply, params, x, labels))(x)

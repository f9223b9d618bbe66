"""The estimators in scikit-learn's own hands, and against plain algebra on the kernels."""

import pickle
import subprocess
import sys

import jax
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks
from tolerances import CLOSED_FORM, PEER

import ntk
from ntk.estimators import NTKSVC, NNGPRegressor, NTKClassifier, NTKRegressor

NET = ntk.MLP(depth=1, activation="erf", w_std=1.5)


def cannot_pass(estimator):
    """Checks of scikit-learn that the tests themselves or the mathematics exclude, with the reason."""
    annotations = "tests check the annotations of __init__, which users do not"
    excluded = {"check_do_not_raise_errors_in_init_or_set_params": annotations}
    if estimator.kernel == "precomputed" and not isinstance(estimator, NTKSVC):
        indefinite = "the matrix of this check has negative eigenvalues, so that it is not a kernel"
        excluded |= dict.fromkeys(("check_positive_only_tag_during_fit", "check_estimators_dtypes"), indefinite)
    return excluded


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [
        kind(kernel=kernel)
        for kind in (NTKRegressor, NTKClassifier, NNGPRegressor, NTKSVC)
        for kernel in (None, "precomputed")
    ],
    expected_failed_checks=cannot_pass,
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x, x_test = rng.normal(size=(12, 3)), rng.normal(size=(5, 3))
    return x, np.stack([x[:, 0] * x[:, 1], np.sin(x[:, 2])], axis=1), x_test


def test_regressor_is_kernel_ridge_regression(data):
    x, y, x_test = data
    theta, across = np.asarray(ntk.infinite_ntk(NET, x)), np.asarray(ntk.infinite_ntk(NET, x_test, x))
    ridge = KernelRidge(alpha=0.1, kernel="precomputed").fit(theta, y)
    model = NTKRegressor(NET, ridge=0.1, relative_ridge=False).fit(x, y)
    np.testing.assert_allclose(model.predict(x_test), ridge.predict(across), rtol=0, atol=PEER["float64"])
    np.testing.assert_allclose(model.dual_coef_, ridge.dual_coef_, rtol=0, atol=PEER["float64"])
    stopped = NTKRegressor(NET, t=0.7, ridge=0.0).fit(x, y[:, 0])
    predict = ntk.dynamics.squared_loss_flow(theta, y[:, 0])
    np.testing.assert_allclose(
        stopped.predict(x_test), predict(0.7, k_test_train=across).test, rtol=0, atol=PEER["float64"]
    )


def test_gaussian_process_is_its_posterior(data):
    x, y, x_test = data
    kernels = [np.asarray(ntk.infinite_kernels(NET, *pair).nngp) for pair in ((x,), (x_test, x), (x_test,))]
    model = NNGPRegressor(NET, ridge=0.2).fit(x, y)
    noise = 0.2 * np.mean(np.diag(kernels[0])) * np.eye(12)
    mean = kernels[1] @ np.linalg.solve(kernels[0] + noise, y)
    covariance = kernels[2] - kernels[1] @ np.linalg.solve(kernels[0] + noise, kernels[1].T)
    np.testing.assert_allclose(model.predict(x_test), mean, rtol=0, atol=PEER["float64"])
    for name, expected in (("return_std", np.sqrt(np.diag(covariance))), ("return_cov", covariance)):
        found = model.predict(x_test, **{name: True})
        np.testing.assert_allclose(found[0], mean, rtol=0, atol=PEER["float64"])
        np.testing.assert_allclose(found[1], expected, rtol=0, atol=PEER["float64"])
    evidence = ntk.dynamics.log_marginal_likelihood(kernels[0], y, ridge=0.2, relative_ridge=True)
    assert model.log_marginal_likelihood_ == pytest.approx(float(evidence), rel=CLOSED_FORM["float64"])
    with pytest.raises(ValueError, match="return_std and return_cov are both True; expected at most one"):
        model.predict(x_test, return_std=True, return_cov=True)


def labelled(y):
    return np.array(["a", "b", "c"])[np.argsort(y[:, 0]) % 3]


@pytest.mark.parametrize("kind", [NTKRegressor, NTKClassifier, NNGPRegressor, NTKSVC])
def test_the_kernel_of_a_network_of_a_function_and_given(kind, data):
    x, y, x_test = data
    targets = y if kind in (NTKRegressor, NNGPRegressor) else labelled(y)

    def kernel(x1, x2):
        """What scikit-learn calls a kernel: of two batches."""
        k = ntk.infinite_kernels(NET, x1, x2)
        return np.asarray(k.nngp if kind is NNGPRegressor else k.ntk)

    expected = kind(NET).fit(x, targets).predict(x_test)
    of_function = kind(kernel=kernel).fit(x, targets)
    given = kind(kernel="precomputed").fit(kernel(x, x), targets)
    for found in (of_function.predict(x_test), given.predict(kernel(x_test, x))):
        if targets is y:
            # The kernel of x with itself has an exact diagonal, that of two batches a rounded one.
            np.testing.assert_allclose(found, expected, rtol=0, atol=PEER["float64"])
        else:
            np.testing.assert_array_equal(found, expected)
    # One kernel matrix is cut into folds by its rows and columns.
    assert GridSearchCV(given, {}, cv=2).fit(kernel(x, x), targets).best_estimator_.n_features_in_ == 12


def test_support_vectors_are_those_of_the_kernel_matrix(data):
    x, y, x_test = data
    theta, across = np.asarray(ntk.infinite_ntk(NET, x)), np.asarray(ntk.infinite_ntk(NET, x_test, x))
    svc = SVC(C=3.0, kernel="precomputed").fit(theta, labelled(y))
    model = NTKSVC(NET, C=3.0).fit(x, labelled(y))
    np.testing.assert_allclose(model.decision_function(x_test), svc.decision_function(across), atol=PEER["float64"])
    assert list(model.classes_) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("fit", "sentence"),
    [
        (lambda x, y: NTKRegressor(kernel="rbf").fit(x, y), "kernel is 'rbf'; expected 'precomputed'"),
        (lambda x, y: NTKRegressor(NET, kernel="precomputed").fit(x, y), "net and kernel are both given"),
        (lambda x, y: NTKRegressor(kernel="precomputed").fit(x, y), r"X has shape \(12, 3\); expected a kernel"),
        (lambda x, y: NTKRegressor(kernel=lambda a, b: a).fit(x, y), r"kernel returns an array of shape \(12, 3\)"),
        (lambda x, y: NTKRegressor(kernel=lambda a, b: a @ b).fit(x, y), r"kernel\(x1, x2\) fails"),
        (
            lambda x, y: NNGPRegressor(kernel="precomputed").fit(x @ x.T, y).predict(x @ x.T, return_std=True),
            "kernel is 'precomputed', without the kernel of the test inputs",
        ),
    ],
)
def test_refused_kernels(data, fit, sentence):
    with pytest.raises(ValueError, match=sentence):
        fit(*data[:2])


def test_float64_also_where_x64_is_off(data):
    x, y, x_test = data
    expected = NTKRegressor(NET).fit(x, y).predict(x_test)
    with jax.enable_x64(False):
        found = NTKRegressor(NET).fit(x, y).predict(x_test)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_sequences_in_a_recurrent_network():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(16, 4, 2)), np.array(["no", "yes"])[np.arange(16) % 2]
    x[labels == "yes", -1] += 3
    model = NTKClassifier(ntk.RNN(activation="erf")).fit(x, labels)
    assert list(model.classes_) == ["no", "yes"]
    assert model.decision_function(x).shape == (16,)
    assert model.score(x, labels) == 1.0


@ntk.tensor_program
def gated(net, x):
    """A product of two Gaussian vectors, whose limit is sampled."""
    u, w = net.input_matrix("u") @ x, net.input_matrix("w") @ x
    return net.output("v") @ (net.phi("tanh")(u) * net.phi("erf")(w))


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [NTKRegressor(gated, ridge=1e-8), NNGPRegressor(gated, ridge=1e-8)])
def test_of_a_sampled_limit_one_kernel_is_used(estimator, data):
    """Training points are predicted exactly. This needs one kernel that samples all inputs together."""
    x, y, x_test = data
    model = estimator.fit(x, y)
    again = model.predict(np.concatenate([x, x_test]))
    # The ridge and the sampler's own jitter, over the smallest eigenvalue.
    np.testing.assert_allclose(again[:12], y, rtol=0, atol=1e-3)
    if isinstance(model, NNGPRegressor):
        mean, std = model.predict(np.concatenate([x, x_test]), return_std=True)
        np.testing.assert_array_equal(mean, again)
        assert np.all(std[:12] < 1e-3)
        assert np.all(std[12:] > 1e-2)


@pytest.mark.parametrize("net", [NET, pytest.param(ntk.architectures.mlp(depth=1), marks=pytest.mark.slow)])
def test_clones_have_an_equal_network_and_are_saved(net, tmp_path, data):
    """Clones and pickles of a network use its compiled programs, and are saved like the original."""
    x, y, x_test = data
    twin = clone(pickle.loads(pickle.dumps(NTKRegressor(net, ridge=0.1)))).fit(x, y)
    assert jax.tree.structure(twin.net) == jax.tree.structure(net)
    assert jax.tree.leaves(twin.net) == jax.tree.leaves(net)
    ntk.save(tmp_path / "twin.npz", twin)
    np.testing.assert_array_equal(ntk.load(tmp_path / "twin.npz").predict(x_test), twin.predict(x_test))


def test_saved_with_names_of_features_and_labels(data, tmp_path):
    """Labels and column names of data frames are arrays of objects."""
    model = NTKClassifier(NET).fit(data[0], np.array(["no", "yes"] * 6, dtype=object))
    model.feature_names_in_ = np.array(["a", "b", "c"], dtype=object)
    ntk.save(tmp_path / "model.npz", model)
    loaded = ntk.load(tmp_path / "model.npz")
    assert loaded.classes_.tolist() == ["no", "yes"]
    assert loaded.feature_names_in_.tolist() == ["a", "b", "c"]
    assert loaded.n_features_in_ == 3


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [NTKRegressor(), NNGPRegressor()])
def test_regressors_in_a_pipeline_and_a_grid_search(estimator, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)) * [1.0, 10.0, 100.0]  # scales that need a scaler
    y = np.sin(x[:, 0]) + x[:, 1] / 10
    name = type(estimator).__name__.lower()
    grid = {f"{name}__ridge": [1e-4, 10.0], f"{name}__net": [NET, ntk.MLP(depth=2, activation="tanh")]}
    search = GridSearchCV(make_pipeline(StandardScaler(), estimator), grid, cv=3).fit(x[:40], y[:40])
    assert search.best_params_[f"{name}__ridge"] == 1e-4
    assert search.score(x[40:], y[40:]) > 0.8
    unscaled = clone(search.best_estimator_[-1]).fit(x[:40], y[:40])
    assert search.score(x[40:], y[40:]) > unscaled.score(x[40:], y[40:])
    ntk.save(tmp_path / "best.npz", search.best_estimator_[-1])
    scaled = search.best_estimator_[0].transform(x[40:])
    np.testing.assert_array_equal(ntk.load(tmp_path / "best.npz").predict(scaled), search.predict(x[40:]))


@pytest.mark.slow
def test_in_a_pipeline_and_a_grid_search():
    x, y = load_digits(return_X_y=True)
    grid = {"ntkclassifier__ridge": [1e-4, 10.0], "ntkclassifier__net": [NET, ntk.MLP(depth=2)]}
    search = GridSearchCV(make_pipeline(StandardScaler(), NTKClassifier()), grid, cv=3).fit(x[:200], y[:200])
    assert search.best_params_["ntkclassifier__ridge"] == 1e-4
    assert search.score(x[200:400], y[200:400]) > 0.9


def test_saved_and_loaded(data, tmp_path):
    x, y, x_test = data
    labels = np.array(["a", "b", "c"])[np.arange(12) % 3]
    models = [NTKRegressor(NET).fit(x, y), NTKClassifier(NET, t=3.0).fit(x, labels), NNGPRegressor(NET).fit(x, y)]
    ntk.save(tmp_path / "models.npz", models)
    for loaded, model in zip(ntk.load(tmp_path / "models.npz"), models, strict=True):
        assert type(loaded) is type(model)
        assert loaded.get_params() == model.get_params()
        np.testing.assert_array_equal(loaded.predict(x_test), model.predict(x_test))
    np.testing.assert_array_equal(
        ntk.load(tmp_path / "models.npz")[2].predict(x_test, return_std=True)[1],
        models[2].predict(x_test, return_std=True)[1],
    )


def test_scikit_learn_is_asked_for_by_name():
    """In a fresh interpreter without it: the package imports, the estimators say what they need."""
    script = """
import sys
sys.modules["sklearn"] = None
import ntk
try:
    import ntk.estimators
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "ntk.estimators needs scikit-learn: run `pip install 'scikit-learn>=1.6'`.\n"

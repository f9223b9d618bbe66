"""The rows of a report: every bound and measure that applies to a trained classifier, and why others do not."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree, Shaped

from bounds.checks import Reals
from bounds.concentration.averages import empirical_bernstein_epsilon, hoeffding_epsilon
from bounds.concentration.binomial_tails import binomial_tail_inversion
from bounds.counting.vc import vc_curves
from bounds.kernels.kernel_ridge import kernel_ridge_margin_bound
from bounds.kernels.ntk_measures import ntk_complexity
from bounds.networks.layers import DenseLayers
from bounds.networks.lipschitz import lipschitz_upper_bound
from bounds.networks.margin_bounds import SPECTRAL_CEILING, MarginBound, golowich_margin_bound, spectral_margin_bound
from bounds.networks.margins import classification_margins, spectral_complexity
from bounds.networks.norms import path_norm
from bounds.networks.vc_upper import network_vc_bounds
from bounds.networks.weights import WeightMatrices
from bounds.pac_bayes.gaussian_posterior import pac_bayes_gaussian
from bounds.rademacher import local_fixed_point
from bounds.reports.tables import LeftOut, ReportRow
from ntk.caches.lifetimes import kept_with, reference
from ntk.trees import Params

Entry = ReportRow | LeftOut

HOMOGENEOUS = ("identity", "relu", "leaky_relu", "abs")
CONTRACTIONS = (*HOMOGENEOUS, "tanh", "sin")  # 1-Lipschitz and 0 at 0
WITH_VC_BOUNDS = (*HOMOGENEOUS, "square", "cube", "step", "sign", "sigmoid", "tanh")
VC_NAMES = {
    "vc": ("VC", "Vapnik & Chervonenkis 1971"),
    "rademacher_penalty": ("VC, Rademacher penalty", "Learning From Data 2012, problem 2.20"),
    "parrondo_van_den_broek": ("VC, Parrondo–van den Broek", "Parrondo & van den Broek 1993"),
    "devroye": ("VC, Devroye", "Devroye 1982"),
}


@dataclass(frozen=True)
class Architecture:
    """The properties of a network that bounds use.

    Attributes:
        activation: The name of its activation.
        weights: Its weight matrices.
        layers: Its layers as VC bounds count them. None for several outputs.
    """

    activation: str
    weights: WeightMatrices
    layers: DenseLayers | None


@dataclass(frozen=True)
class Classifier:
    """A trained classifier with its data, after all checks. Every row of a report is computed from it.

    Attributes:
        apply: Takes (params, x) and returns scores (N, C), or (N,).
        params: The trained parameters.
        x: The training inputs, (N, …).
        labels: Their labels, (N,).
        margins: Their margins, (N,).
        test_margins: The margins of the test data, (M,). None without test data.
        one_output: Whether the scores are (N,).
        architecture: None where it is unknown.
        gram: A kernel of the training inputs, (N, N), or None.
        ridge: The number that is added to the diagonal of the kernel.
        delta: δ.
    """

    apply: Callable[[PyTree, PyTree], Array]
    params: Params
    x: Shaped[ArrayLike, "N ..."]
    labels: Shaped[Array, " N"]
    margins: Float[np.ndarray, " N"]
    test_margins: Float[np.ndarray, " M"] | None
    one_output: bool
    architecture: Architecture | None
    gram: Float[Array, "N N"] | None
    ridge: float
    delta: float

    @property
    def num_samples(self) -> int:
        """N."""
        return len(self.margins)

    @property
    def train_error(self) -> float:
        """The share of training points that are misclassified, or have margin 0."""
        return float(np.mean(self.margins <= 0))

    @property
    def test_error(self) -> float | None:
        """The same share of the test points; None without test data."""
        return None if self.test_margins is None else float(np.mean(self.test_margins <= 0))

    @property
    def guessing_error(self) -> float:
        """The training error of always naming the most frequent class."""
        return 1 - float(np.unique_counts(np.asarray(self.labels)).counts.max()) / self.num_samples


def held_out_entries(classifier: Classifier) -> list[Entry]:
    """Bounds from points that training never saw (theory.md 8.1, 8.3 and 8.5)."""
    margins, delta = classifier.test_margins, classifier.delta
    if margins is None:
        return [LeftOut("bounds from test data", "there are none")]
    n, num_errors = len(margins), int(np.sum(margins <= 0))
    risk = num_errors / n
    tail = float(binomial_tail_inversion(num_errors, n, delta))
    found = [
        ("binomial tail, test data", tail - risk, "Langford 2005, section 3"),
        ("Hoeffding, test data", float(hoeffding_epsilon(n, delta, two_sided=False)), "Hoeffding 1963, Thm 2"),
    ]
    if n > 1:
        variance = risk * (1 - risk) * n / (n - 1)
        epsilon = float(empirical_bernstein_epsilon(variance, n, delta, two_sided=False))
        found.append(("empirical Bernstein, test data", epsilon, "Maurer & Pontil 2009, Thm 4"))
    note = "test data had no part in training"
    first, *others = [_bound(name, risk, None, epsilon, note, source) for name, epsilon, source in found]
    return [replace(first, at_ceiling=tail >= 1), *others]


def bits_entries(classifier: Classifier) -> list[Entry]:
    """Hoeffding's bound for the finite class of networks that the bits of the parameters describe (theory.md 8.1)."""
    bits = sum(8 * leaf.size * leaf.dtype.itemsize for leaf in map(jnp.asarray, jax.tree.leaves(classifier.params)))
    epsilon = hoeffding_epsilon(classifier.num_samples, classifier.delta, num_hypotheses=1 << bits, two_sided=False)
    note = f"all networks of {bits} bits, chosen beforehand"
    source = "Hoeffding 1963, Thm 2"
    return [_bound("Hoeffding, all parameters", classifier.train_error, float(epsilon), None, note, source)]


def vc_entries(classifier: Classifier, architecture: Architecture) -> list[Entry]:
    """The bounds of theory.md 9.4 and 9.5, with an upper bound on the network's VC dimension."""
    layers, activation = architecture.layers, architecture.activation
    if layers is None:
        return [LeftOut("VC bounds", "they are for one output")]
    if activation not in WITH_VC_BOUNDS:
        return [LeftOut("VC bounds", f"no bound on the VC dimension is known for {activation}")]
    upper = network_vc_bounds(layers, activation).upper
    curves = vc_curves([classifier.num_samples], upper, classifier.delta, growth="sauer")
    error = classifier.train_error
    note = f"architecture chosen beforehand; d_vc ≤ {upper}"
    return [_bound(name, error, float(curves[key][0]), None, note, by) for key, (name, by) in VC_NAMES.items()]


def margin_entries(classifier: Classifier, architecture: Architecture) -> list[Entry]:
    """The bounds of theory.md 12.6 and 12.7, each at the best of the deciles of the positive margins.

    They hold for all margins at once.
    """
    margins, weights, activation = classifier.margins, architecture.weights, architecture.activation
    positive = margins[margins > 0]
    deciles = np.unique(np.quantile(positive, np.linspace(0.1, 1, 10))) if positive.size else positive
    note = "architecture chosen beforehand; margin {:.3g}, the best decile"
    entries: list[Entry] = []
    for name, bound, activations, outputs, source in (
        (
            "Frobenius norms and margins",
            golowich_margin_bound,
            HOMOGENEOUS,
            classifier.one_output,
            "Golowich et al. 2018, Thm 1",
        ),
        ("spectral norms and margins", spectral_margin_bound, CONTRACTIONS, True, "Bartlett et al. 2017, Lemma A.8"),
    ):
        if weights.ignored:
            entries.append(LeftOut(name, f"it is for networks without biases; this one has {_some(weights.ignored)}"))
        elif activation not in activations:
            entries.append(LeftOut(name, f"it is for {', '.join(activations)}; this is {activation}"))
        elif not outputs:
            entries.append(LeftOut(name, "it is for one output"))
        elif not positive.size:
            entries.append(LeftOut(name, "no margin is positive"))
        else:
            found = [(bound(margins, weights, classifier.x, gamma, classifier.delta), gamma) for gamma in deciles]
            best, gamma = min(found, key=lambda pair: pair[0].bound)
            row = _of_parts(name, best, note.format(gamma), source)
            at_ceiling = bound is spectral_margin_bound and best.complexity >= SPECTRAL_CEILING
            entries.append(replace(row, at_ceiling=at_ceiling))
    return entries


def pac_bayes_entries(
    classifier: Classifier, prior: Params, key: Array | None, sigmas: Reals, num_draws: int
) -> list[Entry]:
    """The PAC-Bayes bound of the network with Gaussian noise on its parameters, and how far training moved them.

    The bound is theory.md 13.1, with 13.4 for the draws.
    """
    name, params = "PAC-Bayes, Gaussian noise", classifier.params
    if prior is None:
        return [LeftOut(name, "prior is None; it takes parameters that do not depend on the data")]
    found = pac_bayes_gaussian(
        _error_rate(classifier.apply),
        params,
        prior,
        (classifier.x, classifier.labels),
        cast(Array, key),  # None is refused there
        num_samples=classifier.num_samples,
        delta=classifier.delta,
        sigmas=sigmas,
        num_draws=num_draws,
    )
    note = f"the error is that of noisy parameters, σ = {found.sigma:.3g}; prior chosen beforehand"
    excess = found.bound - found.risk_upper
    moved = jax.tree.map(lambda new, old: np.sum(np.square(np.asarray(new, float) - np.asarray(old))), params, prior)
    distance = math.sqrt(sum(jax.tree.leaves(moved)))
    row = _bound(name, found.risk_upper, excess, None, note, "Seeger 2002, Thm 1; Maurer 2004, Thm 5")
    return [
        replace(row, at_ceiling=found.bound >= 1),
        _measure("distance from the prior", distance, "‖params − prior‖₂", "Nagarajan & Kolter 2019"),
    ]


def kernel_entries(classifier: Classifier) -> list[Entry]:
    """The bound and the measures that a kernel gives for its own regression (theory.md 11.9, 14.1 and 14.2)."""
    gram, labels, one_output, ridge = classifier.gram, classifier.labels, classifier.one_output, classifier.ridge
    if gram is None:
        return [LeftOut("NTK measures and kernel ridge regression", "gram is None")]
    targets = labels if one_output else jax.nn.one_hot(labels, int(labels.max()) + 1)
    note = f"√(2 yᵀ(H + {ridge:.3g})⁻¹y/n) of ±1 or one-hot labels"
    fixed_point = float(local_fixed_point(gram))
    hardness = float(ntk_complexity(gram, targets.astype(gram.dtype), ridge))
    entries: list[Entry] = [
        _measure("NTK complexity", hardness, note, "Arora et al. 2019, Thm 5.1"),
        _measure("local complexity", fixed_point, "r* of the kernel's unit ball", "Bartlett et al. 2005, Cor 6.7"),
    ]
    name = "kernel ridge regression, trace"
    if not one_output or ridge == 0:
        return [LeftOut(name, "it is for one output and a ridge above 0"), *entries]
    found = kernel_ridge_margin_bound(gram, labels, ridge, classifier.delta)
    note = f"the error is that of kernel regression with ridge {ridge:.3g}; kernel chosen beforehand"
    return [_of_parts(name, found, note, "Bartlett & Mendelson 2002, Thm 21"), *entries]


def norm_entries(weights: WeightMatrices) -> list[Entry]:
    """Norms of a chain of dense layers (theory.md 12.1 to 12.4)."""
    paths, product = float(path_norm(weights)), float(lipschitz_upper_bound(weights))
    spectral, squares = float(spectral_complexity(weights)), sum(float(jnp.sum(w**2)) for w in weights.matrices)
    return [
        _measure("spectral complexity", spectral, "R, without ‖X‖ and margin", "Bartlett et al. 2017, (1.2)"),
        _measure("product of spectral norms", product, "Π‖W_j‖_σ", "Neyshabur et al. 2017"),
        _measure("path norm", paths, "(Σ over paths Π w²)^½", "Neyshabur et al. 2015"),
        _measure("Frobenius norm", math.sqrt(squares), "of all weight matrices together", "Neyshabur et al. 2015"),
    ]


def _error_rate(apply: Callable[[PyTree, PyTree], Array]) -> Callable[[PyTree, PyTree], Array]:
    """The share of wrong labels, as one function for as long as `apply` lives, so that it is compiled once."""
    kept, network = kept_with(apply), reference(apply)

    def error_rate(params: Params, data: tuple[PyTree, Array]) -> Array:
        x, labels = data
        return jnp.mean(classification_margins(network()(params, x), labels) <= 0, dtype=jnp.float32)

    found: Callable[[PyTree, PyTree], Array] = kept.setdefault(_error_rate, error_rate)
    return found


def _bound(
    name: str, risk: float, complexity: float | None, confidence: float | None, assumptions: str, source: str
) -> ReportRow:
    value = risk + (complexity or 0.0) + (confidence or 0.0)
    return ReportRow(name, "bound", value, risk, complexity, confidence, assumptions, source)


def _of_parts(name: str, parts: MarginBound, assumptions: str, source: str) -> ReportRow:
    return _bound(name, parts.margin_risk, parts.complexity, parts.confidence, assumptions, source)


def _measure(name: str, value: float, assumptions: str, source: str) -> ReportRow:
    return ReportRow(name, "measure", value, None, None, None, assumptions, source)


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")

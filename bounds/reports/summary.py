"""Every bound and every measure of a trained classifier, side by side."""

from collections.abc import Callable
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree, Shaped

import ntk
from bounds.arrays import as_gram
from bounds.calls import called, check_leaves
from bounds.checks import Reals, as_delta, as_nonnegative, as_scalar
from bounds.networks.layers import mlp_layers, tree_layers
from bounds.networks.margins import margins_of
from bounds.networks.weights import ntk_weight_matrices, weight_matrices
from bounds.reports import entries
from bounds.reports.tables import LeftOut, Report, ReportRow
from ntk.checks import as_floating, check_choice, is_concrete, shown
from ntk.trees import Params

_SIGMAS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


def report(
    apply: Callable[[PyTree, PyTree], Array],
    params: Params,
    x: Shaped[ArrayLike, "N ..."],
    labels: Shaped[ArrayLike, " N"],
    *,
    x_test: Shaped[ArrayLike, "M ..."] | None = None,
    labels_test: Shaped[ArrayLike, " M"] | None = None,
    delta: float = 0.05,
    network: ntk.MLP | str | None = None,
    gram: Shaped[ArrayLike, "N N"] | None = None,
    ridge: float = 0.0,
    prior: Params = None,
    sigmas: Reals = _SIGMAS,
    num_draws: int = 300,
    key: Array | None = None,
) -> Report:
    """A table of all bounds on the probability of error of a classifier that apply to it, and of all measures.

    Points are independent and identically distributed. Each bound holds with probability 1 − δ by itself, one-sided. If
    you use k of them at once, pass δ/k. Bounds and measures that do not apply are listed with the reason. A bound is
    vacuous if it is at or above the training error of always naming the most frequent class, which is 1 − 1/K for K
    classes of equal size.

    Args:
        apply: Takes (params, x) and returns scores (N, C) of C ≥ 2 classes, or (N,), whose sign is the class. It is
            pure JAX and hashable.
        params: The trained parameters, a pytree.
        x: The training inputs, (N, …); (N, d) if `network` is given.
        labels: (N,): integers 0, …, C − 1, or −1 and 1 for one output.
        x_test: Inputs that training never saw, for bounds from test data.
        labels_test: Their labels.
        delta: δ in (0, 1).
        network: The architecture, for VC and norm bounds. It is the `ntk.MLP` to which `params` belong, or the name of
            the activation of a chain of dense layers with weights (in, out), in order, in `params`.
        gram: A kernel of the training inputs, (N, N), fixed before their labels were seen: an NTK at infinite width or
            at initialization.
        ridge: The number that is added to the diagonal of the kernel.
        prior: Parameters that do not depend on the data, such as those before training, for PAC-Bayes.
        sigmas: The scales of noise that PAC-Bayes tries, fixed beforehand.
        num_draws: How many draws of parameters PAC-Bayes takes at each scale. The error of their average falls with
            their number.
        key: A PRNG key for the draws, needed with `prior`.

    Returns:
        `Report`. It iterates over `ReportRow` and prints as text; `to_markdown()` adds the sources.

    Raises:
        TypeError: `network` is something else, `key` is not a PRNG key, or an array has a wrong dtype or is traced by
            JAX.
        ValueError: A shape, a label or a number does not fit, only one of `x_test` and `labels_test` is given, or an
            output is not finite.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from bounds.reports.summary import report
        >>> x = jax.random.normal(jax.random.key(0), (2000, 3), jnp.float32)
        >>> params = {"kernel": jnp.array([[1.0], [0.1], [0.0]], jnp.float32)}  # the label is the sign of x_1
        >>> def apply(params, x):
        ...     return (x @ params["kernel"])[:, 0]
        >>> found = report(apply, params, x[:1000], jnp.sign(x[:1000, 0]), x_test=x[1000:],
        ...                labels_test=jnp.sign(x[1000:, 0]), network="identity")
        >>> for row in found.bounds:
        ...     print(f"{row.name:30} {'vacuous' if row.vacuous else ''}".rstrip())
        binomial tail, test data
        Hoeffding, test data
        empirical Bernstein, test data
        Hoeffding, all parameters
        VC
        VC, Rademacher penalty
        VC, Parrondo–van den Broek
        VC, Devroye
        Frobenius norms and margins    vacuous
        spectral norms and margins     vacuous
        >>> [row.name for row in found.measures][:2], found.left_out[0].name
        (['spectral complexity', 'product of spectral norms'], 'PAC-Bayes, Gaussian noise')
    """
    if not is_concrete((params, x, labels, x_test, labels_test, gram, prior)):
        raise TypeError("report is traced by JAX; expected concrete arrays: a report is made on the host.")
    delta, ridge = as_scalar(as_delta, "delta", delta), as_scalar(as_nonnegative, "ridge", ridge)
    if (x_test is None) != (labels_test is None):
        raise ValueError("x_test and labels_test come together; expected both or neither.")
    outputs, margins = _predicted(apply, params, "x", x, "labels", labels)
    test_margins = (
        None if x_test is None else _predicted(apply, params, "x_test", x_test, "labels_test", labels_test)[1]
    )
    if gram is not None:
        gram = as_gram("gram", gram)
        if len(gram) != len(margins):
            raise ValueError(
                f"gram has shape {gram.shape}; expected {2 * (len(margins),)} for {len(margins)} points x."
            )
    one_output = outputs.ndim == 1
    classifier = entries.Classifier(
        apply=apply,
        params=params,
        x=x,
        labels=jnp.asarray(labels),
        margins=margins,
        test_margins=test_margins,
        one_output=one_output,
        architecture=None if network is None else _read(network, params, one_output),
        gram=gram,
        ridge=ridge,
        delta=delta,
    )
    found = entries.held_out_entries(classifier) + entries.bits_entries(classifier)
    if classifier.architecture is None:
        found.append(LeftOut("VC, margin bounds and norms", "network is None"))
    else:
        found += entries.vc_entries(classifier, classifier.architecture)
        found += entries.margin_entries(classifier, classifier.architecture)
        found += entries.norm_entries(classifier.architecture.weights)
    found += entries.pac_bayes_entries(classifier, prior, key, sigmas, num_draws)
    found += entries.kernel_entries(classifier)

    rows = [_judged(entry, classifier.guessing_error) for entry in found if isinstance(entry, ReportRow)]
    return Report(
        rows=tuple(sorted(rows, key=lambda row: row.kind != "bound")),
        left_out=tuple(entry for entry in found if isinstance(entry, LeftOut)),
        delta=delta,
        num_samples=classifier.num_samples,
        train_error=classifier.train_error,
        guessing_error=classifier.guessing_error,
        num_test=0 if test_margins is None else len(test_margins),
        test_error=classifier.test_error,
    )


def _judged(row: ReportRow, guessing: float) -> ReportRow:
    return replace(row, vacuous=row.value >= guessing) if row.kind == "bound" else row


def _predicted(
    apply: Callable[[PyTree, PyTree], Array],
    params: Params,
    x_argument: str,
    x: ArrayLike,
    labels_argument: str,
    labels: object,
) -> tuple[Float[Array, "N ..."], Float[np.ndarray, " N"]]:
    """The outputs for x, and the margins."""
    check_leaves("params", params)
    check_leaves(x_argument, x)
    outputs = called("apply", apply, {"params": params, x_argument: x})
    argument = f"apply(params, {x_argument})"
    return as_floating(argument, outputs), np.asarray(margins_of(argument, outputs, labels_argument, labels))


def _read(network: ntk.MLP | str, params: Params, one_output: bool) -> entries.Architecture:
    """The activation, the weight matrices, and for one output the layers as VC bounds count them."""
    if isinstance(network, ntk.MLP):
        weights = ntk_weight_matrices(network, params)
        dim, width = weights.matrices[0].shape
        layers = mlp_layers(network, dim, width) if one_output else None
        return entries.Architecture(network.activation.name, weights, layers)
    if not isinstance(network, str):
        raise TypeError(f"network is {shown(network)}; expected an ntk.MLP, the name of an activation, or None.")
    check_choice("network", network, (*entries.CONTRACTIONS, "square", "cube", "step", "sign", "sigmoid"))
    return entries.Architecture(network, weight_matrices(params), tree_layers(params) if one_output else None)

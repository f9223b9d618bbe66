"""The record of a trained member: its measurements during training, and every bound."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jaxtyping import Array
from ml_collections import ConfigDict

from bounds.checks import as_delta, as_nonnegative, as_positive
from bounds.reports.entries import CONTRACTIONS, WITH_VC_BOUNDS
from bounds.reports.summary import report
from experiments.common.metrics import Record
from experiments.regularization.engine import Program, State
from experiments.regularization.members import Member, as_arrays
from experiments.regularization.models import (
    Classifier,
    chain_apply,
    effective_weights,
    is_chain,
    model_function,
    network_ntk,
)
from experiments.regularization.noise import noisy_labels
from experiments.regularization.samples import Samples
from experiments.regularization.training import Trained
from ntk.checks import check_count
from ntk.trees import Params

_DIGITS = 6
_PARTS = ("train", "validation", "test")
# The first two exist only with probes, and the third only with levels of noise.
_CURVES = (
    *("ntk_drift", "lipschitz_estimate", "noisy_errors", "gap", "margins", "lipschitz_product", "sparsity"),
    *("sparsities", "one", "frobenius", "spectral", "stable_rank", "effective_rank"),
)


class BoundOptions(NamedTuple):
    """Arguments of `bounds.report` that a sweep fixes.

    Attributes:
        delta: δ.
        sigmas: The scales of noise that PAC-Bayes tries.
        num_draws: The number of draws of parameters at each scale.
        ridge: The ridge of kernel regression, as a share of the mean of the kernel's diagonal.
    """

    delta: float
    sigmas: tuple[float, ...]
    num_draws: int
    ridge: float


def bound_options(fields: ConfigDict) -> BoundOptions | None:
    """The options in a config. None if the config has none; records have no bounds then.

    Raises:
        TypeError: A field is missing or unknown.
        ValueError: A field is out of range.

    Example:
        >>> bound_options(ConfigDict({"delta": 5.0, "sigmas": (0.1,), "num_draws": 10, "ridge": 0.1}))
        Traceback (most recent call last):
        ...
        ValueError: bounds.delta is 5.0; expected a number between 0 and 1, both excluded.
    """
    if not fields:
        return None
    options = BoundOptions(**fields)
    as_delta("bounds.delta", options.delta)
    as_positive("bounds.sigmas", options.sigmas)
    check_count("bounds.num_draws", options.num_draws, minimum=2)
    as_nonnegative("bounds.ridge", options.ridge)
    return options


def member_record(
    program: Program,
    member: Member,
    index: int,
    trained: Trained,
    samples: Samples,
    schedule: Sequence[int],
    options: BoundOptions | None,
) -> Record:
    """One line of metrics.

    Args:
        program: The program that trained it.
        member: Its numbers.
        index: Its place in the chunk.
        trained: The chunk.
        samples: The data.
        schedule: The steps after which it was evaluated.
        options: The options of the bounds; None leaves bounds out.

    Returns:
        The fields of `Member`, and

        - "steps": the schedule; "diverged": the first of its steps with numbers that are not finite, or None;
        - "curves", "spectra" (singular values of each layer) and "reliability" ("shares", "confidences" and
          "accuracies" of bins): by name, one entry per step; "layers": the names of weights in the order of the curves;
        - "bounds" and "measures": by their names in `bounds.report`, empty if the member diverged;
        - "at_ceiling": the names of bounds at their ceiling; "left_out": why other bounds are missing.

        Numbers have 6 digits; numbers that are not finite are None.
    """
    history = jax.tree.map(lambda leaf: leaf[:, index], trained.history)
    curves = {f"{part}_{name}": history[part][name] for part in _PARTS for name in ("loss", "error")}
    curves |= {name: history[name] for name in _CURVES if name in history} | {"ece": history["calibration"]["ece"]}
    lost = np.flatnonzero(~history["finite"])
    record: Record = {
        **member._asdict(),
        "diverged": schedule[lost[0]] if lost.size else None,
        "steps": list(schedule),
        "curves": curves,
        "layers": list(history["spectra"]),
        "spectra": history["spectra"],
        "reliability": {name: values for name, values in history["calibration"].items() if name != "ece"},
        "bounds": {},
        "measures": {},
        "at_ceiling": [],
        "left_out": {},
    }
    if options is not None and not lost.size:
        first, last = jax.tree.map(lambda leaf: leaf[index], (trained.first, trained.last))
        record |= member_bounds(program, member, first, last, samples, options)
    return _plain(record)


def member_bounds(
    program: Program, member: Member, first: State, last: State, samples: Samples, options: BoundOptions
) -> Record:
    """Every bound and measure of `bounds.report` for one member, from its functions before and after training.

    Bounds hold for the error with label noise, so test labels have this noise here. If the norms of the weights exceed
    the range of float32, there are no bounds; "left_out" then has the reason under "everything".
    """
    model = program.model
    numbers = jax.tree.map(lambda leaf: leaf[0], as_arrays([member], samples.x_train.dtype))
    x = samples.x_train[: member.num_train]
    labels = first.labels[: member.num_train]
    apply, prior, params = _as_function(model, first, last, numbers.gain, x)
    gram = network_ntk(model, _whole(first, numbers.gain), x)
    is_known = is_chain(model) and model.activation in (*CONTRACTIONS, *WITH_VC_BOUNDS)
    try:
        found = report(
            apply,
            params,
            x,
            labels,
            x_test=samples.x_test,
            labels_test=noisy_labels(numbers, samples.y_test, model.outputs, "test labels"),
            delta=options.delta,
            network=model.activation if is_known else None,
            gram=gram,
            ridge=options.ridge * float(jnp.mean(jnp.diagonal(gram))),
            prior=prior,
            sigmas=options.sigmas,
            num_draws=options.num_draws,
            key=jax.random.key(member.seed),
        )
    except ValueError as error:
        logging.warning("no bounds for %s: %s", member, error)
        return {"left_out": {"everything": str(error)}}
    return {
        "bounds": {row.name: row.value for row in found.bounds},
        "measures": {row.name: row.value for row in found.measures},
        # PAC-Bayes tends to 1 and reaches it only in the digits of a record.
        "at_ceiling": [row.name for row in found.bounds if row.at_ceiling or _plain(row.value) == 1],
        "left_out": {entry.name: entry.reason for entry in found.left_out},
    }


def _as_function(
    model: Classifier, first: State, last: State, gain: Array, x: Array
) -> tuple[Callable[[Params, Array], Array], Params, Params]:
    """f(params, x), and params before and after training. The params of a chain are its effective matrices."""
    if is_chain(model):
        before, after = (
            effective_weights(model, state.statistics | {"params": state.params}, x, gain) for state in (first, last)
        )
        return chain_apply(model.activation), before, after
    # PAC-Bayes gets no prior with running averages: noise on these gives networks that training cannot reach.
    return model_function(model), None if first.statistics else _whole(first, gain), _whole(last, gain)


def _whole(state: State, gain: Array) -> Params:
    return {"variables": state.statistics | {"params": state.params}, "gain": gain}


def _plain(value: Any) -> Any:
    """The value in types of JSON: lists, and numbers of 6 digits. Numbers that are not finite become None."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float | np.floating):
        return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None
    return value

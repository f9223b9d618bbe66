"""The flags of every experiment script, its work directory, and refusals in one sentence.

The flags are defined here, once, so that several experiments can be imported into one process.
"""

import contextlib
import logging
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import app, flags
from ml_collections import ConfigDict, config_flags
from ml_collections.config_flags import config_path

from experiments.common.endings import FULL, end_in_a_sentence
from experiments.common.environment import record_environment
from experiments.common.metrics import MetricsFile
from experiments.common.usage import usage
from experiments.common.workdir import METRICS, flat_fields, open_workdir
from ntk.checks import check_count

BAD_INPUT = (ValueError, TypeError, OSError, ImportError)
GOES_ON = "the same command goes on with what is finished"
_HELP = ("-h", "-help", "--help", "-helpshort", "--helpshort")
_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The configuration, a file such as configs/vc_growth.py. Some files take a name after a colon.",
    lock_config=True,
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder for everything that this run writes. A rerun in the same folder resumes.", required=True
)


def run(main: Callable[[ConfigDict, Path], None], example: str, *, go_on: str = GOES_ON) -> None:
    """Parse the command line and call `main(config, workdir)`. Both flags are required.

    Args:
        main: The experiment.
        example: A config of this script. --help shows its fields if no config is given.
        go_on: How to go on after a run was stopped, as a clause.
    """
    flags.mark_flag_as_required("config")
    # absl shows level INFO, and these libraries log every step at that level.
    for chatty in ("fontTools", "jax"):
        logging.getLogger(chatty).setLevel(logging.WARNING)

    def called(_: list[str]) -> None:
        workdir = Path(_WORKDIR.value)
        with end_in_a_sentence(workdir, go_on):
            main(_CONFIG.value, workdir)

    app.run(called, flags_parser=lambda argv: _parse_flags(argv, example))


@contextlib.contextmanager
def opened(
    workdir: Path, config: ConfigDict, *, data: str | None = None, may_change: Collection[str] = ()
) -> Iterator[tuple[Path, MetricsFile]]:
    """Open the folder of this run and its metrics, and record the environment there.

    Args:
        workdir: The folder. No other process may write there until the enclosed code has ended.
        config: The config.
        data: The fingerprint of the data; None without data.
        may_change: Fields on which no result depends, as `experiments.common.workdir.open_workdir` takes them.

    Raises:
        SystemExit: The folder cannot be used, with the sentence of `open_workdir`.
    """
    with contextlib.ExitStack() as stack:
        with refuse_bad_input():
            folder = stack.enter_context(open_workdir(workdir, config, data=data, may_change=may_change))
            metrics = MetricsFile(folder / METRICS)
            record_environment(folder, config=_config_file(), data=data)
        yield folder, metrics


def check_axis(name: str, values: Sequence[int], what: str, minimum: int = 1) -> None:
    """Refuse values that cannot be the axis of a curve: fewer than two integers, or integers that do not increase.

    Raises:
        ValueError: The sentence names the field, its value and what is expected.

    Example:
        >>> check_axis("sizes", (20, 10), "sample sizes")
        Traceback (most recent call last):
        ...
        ValueError: sizes is (20, 10); expected at least two sample sizes in increasing order.
    """
    for value in values:
        check_count(name, value, minimum=minimum)
    if len(values) < 2 or list(values) != sorted(set(values)):
        raise ValueError(f"{name} is {values!r}; expected at least two {what} in increasing order.")


def check_intervals(config: ConfigDict) -> None:
    """Refuse bad fields of bootstrap intervals and of bands: `num_resamples`, `confidence` and `quantiles`.

    Raises:
        ValueError: The sentence names the field, its value and what is expected.

    Example:
        >>> check_intervals(ConfigDict({"num_resamples": 10, "confidence": 95.0, "quantiles": (0.1, 0.9)}))
        Traceback (most recent call last):
        ...
        ValueError: confidence is 95.0; expected a number between 0 and 1.
    """
    check_count("num_resamples", config.num_resamples)
    if not 0 < config.confidence < 1:
        raise ValueError(f"confidence is {config.confidence!r}; expected a number between 0 and 1.")
    if len(config.quantiles) != 2 or not 0 <= config.quantiles[0] <= config.quantiles[1] <= 1:
        raise ValueError(f"quantiles is {config.quantiles!r}; expected two increasing numbers in [0, 1].")


def _config_file() -> str | None:
    """The path of the config on the command line; None if the script was not started from a command line."""
    parsed = flags.FLAGS.is_parsed() and flags.FLAGS["config"].present
    return config_flags.get_config_filename(flags.FLAGS["config"]) if parsed else None


class _ConfigFile(NamedTuple):
    """A config as its file makes it, without the flags that change its fields."""

    path: str
    fields: ConfigDict
    other_arguments: list[str]


def _parse_flags(argv: list[str], example: str) -> list[str]:
    file = _read_config(argv)
    if not set(_HELP).isdisjoint(argv):
        shown = file or _read_config([argv[0], f"--config={example}"])
        if shown is not None:
            about = {"workdir": flags.FLAGS["workdir"].help, "config": flags.FLAGS["config"].help}
            print(usage(sys.modules["__main__"].__doc__ or "", about, shown.path, shown.fields))
            raise SystemExit(0)
    if file is not None:
        _check_fields(file)
    arguments = app.parse_flags_with_usage(argv)
    if arguments[1:]:
        raise SystemExit(f"{arguments[1]!r} is not a flag; expected --NAME=VALUE, as in --config.network.depth=5.")
    return arguments


def _read_config(argv: list[str]) -> _ConfigFile | None:
    """The file that --config names; None without one. A file that cannot be read is refused in one sentence."""
    file_alone = flags.FlagValues()
    # An empty sys_argv: the file as it stands.
    config_flags.DEFINE_config_file("config", flag_values=file_alone, sys_argv=[])
    try:
        others = file_alone(argv, known_only=True)
    except flags.Error:
        return None  # absl prints its own message
    config = file_alone["config"].value
    if config is None:
        return None
    path = config_flags.get_config_filename(file_alone["config"])
    try:
        config.to_dict()
    except OSError:
        raise SystemExit(
            f"--config is {path!r}, which cannot be read; expected a file such as configs/convergence_mlp_relu.py."
        ) from None
    return _ConfigFile(path, config, others)


def _check_fields(file: _ConfigFile) -> None:
    """Refuse a flag for a field that the config does not have. config_flags alone would answer with a trace."""
    for override in filter(None, (re.match(r"--?(?:no)?config\.([^=]*)", flag) for flag in file.other_arguments)):
        try:
            config_path.get_type(override[1], file.fields)
        except (AttributeError, LookupError, ValueError):
            known = ", ".join(flat_fields(file.fields.to_dict()))
            raise SystemExit(f"{override[0]} is not a field of {file.path}; expected one of {known}.") from None


@contextlib.contextmanager
def refuse_bad_input(errors: tuple[type[Exception], ...] = BAD_INPUT) -> Iterator[None]:
    """End the process with the message of an error, without a trace, when the enclosed code raises one of `errors`.

    Enclose only code that checks the input. Elsewhere a ValueError is a bug, and its trace is wanted. A full disk is
    not bad input: its error passes, and `end_in_a_sentence` says how to go on.

    Args:
        errors: By default ValueError, TypeError, OSError and ImportError.

    Raises:
        SystemExit: The enclosed code raised one of `errors`.

    Example:
        >>> with refuse_bad_input():
        ...     raise ValueError("depth is 0; expected an integer of at least 1.")
        Traceback (most recent call last):
        ...
        SystemExit: depth is 0; expected an integer of at least 1.
    """
    try:
        yield
    except errors as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise SystemExit(str(error)) from error

"""What every experiment script shares: the flags --config and --workdir, and how bad input ends a run.

The flags live here, once, so that several experiments can be imported into one process.
"""

import contextlib
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from absl import app, flags
from ml_collections import ConfigDict, config_flags
from ml_collections.config_flags import config_path

from experiments.workdir import flat_fields
from ntk.checks import check_count

BAD_INPUT = (ValueError, TypeError, OSError, ImportError)
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Configuration file, for example configs/convergence_mlp_relu.py.", lock_config=True
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder for everything this run writes; the same one resumes.", required=True
)


def run(main: Callable[[ConfigDict, Path], None]) -> None:
    """Parse the command line and call `main(config, workdir)`; both flags are required."""
    flags.mark_flag_as_required("config")
    # They log what they do at level INFO, which absl shows.
    for chatty in ("fontTools", "jax"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    app.run(lambda argv: main(_CONFIG.value, Path(_WORKDIR.value)), flags_parser=_parse_flags)


def check_axis(name: str, values: Sequence[int], what: str, minimum: int = 1) -> None:
    """Refuse what is no axis of a curve: fewer than two integers, or not increasing.

    Raises:
        ValueError: with a sentence that names the field, its value and what is expected.

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


def _parse_flags(argv: list[str]) -> list[str]:
    _check_config_flags(argv)
    arguments = app.parse_flags_with_usage(argv)
    if arguments[1:]:
        raise SystemExit(f"{arguments[1]!r} is not a flag; expected --NAME=VALUE, as in --config.network.depth=5.")
    return arguments


def _check_config_flags(argv: list[str]) -> None:
    """Refuse a file that is not there and a field that it does not have: config_flags answers both with a trace."""
    file_alone = flags.FlagValues()
    # An empty sys_argv: the file as it stands, without the flags that change its fields.
    config_flags.DEFINE_config_file("config", flag_values=file_alone, sys_argv=[])
    try:
        others = file_alone(argv, known_only=True)
    except flags.Error:
        return  # absl says it in its own words
    config = file_alone["config"].value
    if config is None:
        return
    path = config_flags.get_config_filename(file_alone["config"])
    try:
        known = ", ".join(flat_fields(config.to_dict()))
    except OSError:
        raise SystemExit(
            f"--config is {path!r}, which cannot be read; expected a file such as configs/convergence_mlp_relu.py."
        ) from None
    for override in filter(None, (re.match(r"--?(?:no)?config\.([^=]*)", argument) for argument in others)):
        try:
            config_path.get_type(override[1], config)
        except (AttributeError, LookupError, ValueError):
            raise SystemExit(f"{override[0]} is not a field of {path}; expected one of {known}.") from None


@contextlib.contextmanager
def refuse_bad_input(errors: tuple[type[Exception], ...] = BAD_INPUT) -> Iterator[None]:
    """End the process with the sentence alone, without a trace, when what it encloses raises one of `errors`.

    Enclose only what checks the input: a ValueError from anywhere else is a bug, and its trace is wanted.

    Args:
        errors: ValueError, TypeError, OSError and ImportError, unless told otherwise.

    Raises:
        SystemExit: where the enclosed code raises one of them.

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
        raise SystemExit(str(error)) from error

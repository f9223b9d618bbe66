"""What every experiment script shares: the flags --config and --workdir, and how bad input ends a run.

The flags live here, once, so that several experiments can be imported into one process.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from absl import app, flags
from ml_collections import ConfigDict, config_flags

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
    app.run(lambda argv: main(_CONFIG.value, Path(_WORKDIR.value)))


@contextlib.contextmanager
def refuse_bad_input() -> Iterator[None]:
    """End the process with the sentence alone, without a trace, when what it encloses refuses its input.

    Enclose only what checks the input: a ValueError from anywhere else is a bug, and its trace is wanted.

    Raises:
        SystemExit: where the enclosed code raises ValueError, TypeError, OSError or ImportError.

    Example:
        >>> with refuse_bad_input():
        ...     raise ValueError("depth is 0; expected an integer of at least 1.")
        Traceback (most recent call last):
        ...
        SystemExit: depth is 0; expected an integer of at least 1.
    """
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise SystemExit(str(error)) from error

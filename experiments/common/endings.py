"""How a run ends that does not come to its end: with one sentence that says how to go on."""

import contextlib
import errno
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


@contextlib.contextmanager
def end_in_a_sentence(workdir: Path, go_on: str) -> Iterator[None]:
    """End the process with one sentence where the disk is full, or Ctrl-C or SIGTERM asks it to stop.

    What is on disk is whole at all times, so that a signal ends the process at once, with the status 128 + its number:
    also in the middle of a compiled program, where Python itself would have to wait for its end.

    Args:
        workdir: The folder of the run.
        go_on: How to go on, a clause.

    Raises:
        SystemExit: the disk is full.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = {number: signal.signal(number, lambda *_: None) for number in _NAMES}
    signal.set_wakeup_fd(writer)
    watcher = threading.Thread(target=_end_on_signal, args=(reader, workdir, go_on), daemon=True)
    watcher.start()
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise SystemExit(
            f"The disk of --workdir '{workdir}' takes no more ({error.strerror}); make room on it, and {go_on}."
        ) from error
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writer)  # which ends the thread
        watcher.join()
        os.close(reader)


def _end_on_signal(reader: int, workdir: Path, go_on: str) -> None:
    """Wait for the number of a signal, which Python's own handler writes at once, whatever the main thread does."""
    while received := os.read(reader, 1):
        number = received[0]
        if number in _NAMES:
            # On a line of its own, below a progress bar.
            os.write(2, f"\nStopped by {_NAMES[signal.Signals(number)]}; {go_on} in '{workdir}'.\n".encode())
            os._exit(128 + number)

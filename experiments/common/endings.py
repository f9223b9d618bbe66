"""The end of a run that is stopped: one sentence that says how to go on."""

import contextlib
import errno
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

# The errors if a disk is full, or a quota or a limit on the size of files is reached.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


@contextlib.contextmanager
def end_in_a_sentence(workdir: Path, go_on: str) -> Iterator[None]:
    """End the process with one sentence when the disk is full, or when Ctrl-C or SIGTERM asks it to stop.

    Files on disk are whole at all times, so a signal may end the process at once. It does so even inside a compiled
    program, where Python's own handler would wait until the program ends. The exit status is 128 + the signal's number.

    Scripts enter this after their libraries are imported and their flags are read. Before that, Ctrl-C ends
    the process with Python's own traceback, and nothing has been written.

    Args:
        workdir: The folder of the run.
        go_on: How to go on, as a clause.

    Raises:
        SystemExit: The disk is full.
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
        if error.errno not in FULL:
            raise
        raise SystemExit(
            f"The disk of --workdir '{workdir}' is full ({error.strerror}); free some space, and {go_on}."
        ) from error
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writer)  # which ends the thread
        watcher.join()
        os.close(reader)


def _end_on_signal(reader: int, workdir: Path, go_on: str) -> None:
    """Wait for the number of a signal. Python writes it into the pipe at once, even if the main thread is busy."""
    while received := os.read(reader, 1):
        number = received[0]
        if number in _NAMES:
            # On a line of its own, below a progress bar.
            os.write(2, f"\nStopped by {_NAMES[signal.Signals(number)]}; {go_on} in '{workdir}'.\n".encode())
            os._exit(128 + number)

"""Kernels, predictors and fitted estimators in one file, without pickle: a file can hold data, never code.

The file is an .npz. It holds the arrays, and the structure as JSON. The structure refers to classes by name. The names
that a file may use are listed in `ntk.saving.names`.
"""

import json
import math
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from ntk.checks import shown
from ntk.saving.decoding import RefusedFile, decoded
from ntk.saving.encoding import encoded
from ntk.saving.files import replacing

_STRUCTURE = "structure"
_VERSION = 1
# The errors that reading a foreign or a damaged file may raise.
_DAMAGED = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    EOFError,
    OSError,
    RuntimeError,
    SyntaxError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def save(path: str | os.PathLike[str], value: Any) -> None:
    """Write kernels, a predictor, a fitted estimator, or a container of these to one file.

    A file can hold

    - arrays, masked arrays, PRNG keys, numbers, strings, None, lists, tuples and dictionaries;
    - `ntk.Kernels` and other results;
    - `ntk.MLP`, `ntk.RNN` and the programs of `ntk.architectures`, with named activations;
    - the predictors of `ntk.dynamics`, with a loss of Optax and the default solver;
    - the estimators of `ntk.estimators`.

    Args:
        path: The file, usually NAME.npz. No ending is added. An existing file is replaced once the new one is complete.
        value: What to save.

    Raises:
        TypeError: The value holds something else, such as a function of the user.
        OSError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> kernels = ntk.infinite_kernels(ntk.MLP(depth=2), jnp.eye(3))
        >>> path = Path(tempfile.mkdtemp()) / "kernels.npz"
        >>> ntk.save(path, {"kernels": kernels, "labels": [0, 1, 1]})
        >>> loaded = ntk.load(path)
        >>> bool(jnp.array_equal(loaded["kernels"].ntk, kernels.ntk)), loaded["labels"]
        (True, [0, 1, 1])
    """
    path = _as_path(path)
    arrays: list[np.ndarray] = []
    structure = json.dumps({"version": _VERSION, "value": encoded(value, arrays)}, ensure_ascii=False)
    members: dict[str, Any] = {_STRUCTURE: np.array(structure)} | {f"a{i}": array for i, array in enumerate(arrays)}
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **members)


def load(path: str | os.PathLike[str]) -> Any:
    """Read a file that `save` wrote. Nothing in the file is run.

    Args:
        path: The file.

    Returns:
        What was saved. JAX arrays come back as JAX arrays, and NumPy arrays as NumPy arrays.

    Raises:
        ValueError: `save` did not write the file, the file is damaged, a later version wrote it, it would unpack to
            more bytes than it has (which is checked before anything is unpacked), or it holds 64-bit JAX arrays and x64
            is not enabled.
        ImportError: The file holds an estimator, and scikit-learn is not installed.
        OSError: The file cannot be read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "numbers.npz"
        >>> save(path, (1, 2.5, None))
        >>> load(path)
        (1, 2.5, None)
    """
    path = _as_path(path)
    with path.open("rb") as file:
        try:
            _check_sizes(path, file)
            with np.load(file, allow_pickle=False) as members:
                content = json.loads(str(members[_STRUCTURE]))
                arrays = [members[f"a{i}"] for i in range(len(members.files) - 1)]
            if content["version"] == _VERSION:
                return decoded(content["value"], arrays)
            version = int(content["version"])
        except RefusedFile:
            raise
        except _DAMAGED as error:
            raise ValueError(f"'{path}' is damaged, or ntk.save did not write it ({type(error).__name__}).") from None
    raise ValueError(f"'{path}' is of format {version}; expected {_VERSION}, which is what this version of ntk reads.")


def _as_path(path: object) -> Path:
    # `open` takes an integer as the number of an open file, and would close that file.
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path is {shown(path)}; expected the path of a file.")
    return Path(path)


def _check_sizes(path: Path, file: IO[bytes]) -> None:
    """Refuse members that are packed, or that declare more bytes than the file has, before anything is unpacked.

    `save` does not pack, so its files hold every byte that they declare. It never writes a small file that unpacks to a
    large one, members that overlap, or an array that is shorter than its header says.

    Raises:
        ValueError: The message states both sizes.
    """
    size = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as members:
        infos = members.infolist()
        declared = sum(info.file_size for info in infos)
        if declared > size or any(info.compress_type != zipfile.ZIP_STORED for info in infos):
            raise RefusedFile(
                f"'{path}' is damaged, or ntk.save did not write it: it has {size} bytes and unpacks to {declared}."
            )
        for info in infos:
            with members.open(info) as member:
                version = np.lib.format.read_magic(member)
                read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, _, dtype = read_header[version](member)
                declared = math.prod(shape) * dtype.itemsize
                if declared > info.file_size:
                    raise RefusedFile(
                        f"'{path}' is damaged, or ntk.save did not write it: it declares an array of"
                        f" {declared} bytes in a member of {info.file_size}."
                    )
    file.seek(0)

"""Readers of image data sets: folders of IDX, CIFAR-10 binary or .npz files, OpenML, scikit-learn's digits.

Each returns the raw pixels of both splits as `RawData`; `experiments.data.images` shuffles and normalizes them.
"""

import gzip
import io
import lzma
import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import sklearn.datasets

# Third byte of an IDX file: the type of its entries, big-endian.
IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
CIFAR_TRAIN_FILES = tuple(f"data_batch_{batch}.bin" for batch in range(1, 6))
CIFAR_TEST_FILES = ("test_batch.bin",)
NPZ_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
# Name at OpenML and the shape of one image there (colours first).
OPENML = {
    "mnist": ("mnist_784", (1, 28, 28)),
    "fashion_mnist": ("Fashion-MNIST", (1, 28, 28)),
    "cifar10": ("CIFAR_10", (3, 32, 32)),
}
# The most bytes that a file may unpack to, and the most bytes that DEFLATE can make of one stored byte.
_MOST_BYTES, _MOST_RATIO = 2**32, 1032
_MOST_AXES = 8
_GZIP = b"\x1f\x8b"
OPENML_TEST_IMAGES = 10_000
DIGITS_TEST_IMAGES = 297


class RawData(NamedTuple):
    """Pixels and labels as they were stored: images (N, H, W) or (N, H, W, channels), labels (N,)."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def read_idx(path: Path) -> np.ndarray:
    """Read one IDX file (the format of MNIST's home page), plain or compressed with gzip.

    The file holds two zero bytes, a byte for the type, a byte for the number of axes, the axes' lengths
    (32-bit, big-endian), and the entries (big-endian, last axis fastest).

    No more is unpacked than the header declares.

    Raises:
        ValueError: The file is not of this format, or the number of its bytes is not the one that its header declares.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "labels"
        >>> _ = path.write_bytes(bytes([0, 0, 0x08, 1, 0, 0, 0, 3, 7, 8, 9]))
        >>> read_idx(path)
        array([7, 8, 9], dtype=uint8)
    """
    with path.open("rb") as file:
        compressed = file.read(2) == _GZIP
    stored = path.stat().st_size
    most = min(_MOST_BYTES, _MOST_RATIO * stored) if compressed else stored
    try:
        with gzip.open(path) if compressed else path.open("rb") as file:
            dtype, shape = _idx_header(path, file)
            start, size = 4 + 4 * len(shape), math.prod(shape) * dtype.itemsize
            if start + size > most:
                raise ValueError(
                    f"{path} is damaged: its IDX header {shape} asks for {start + size} bytes; expected at most {most}"
                    f" of a file of {stored}."
                )
            content = file.read(size + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise ValueError(f"{path} is damaged: its gzip stream cannot be read to the end.") from None
    if len(content) != size:
        found = f"{start + len(content)}" if len(content) < size else "more"
        raise ValueError(f"{path} is damaged: it has {found} bytes; its IDX header {shape} asks for {start + size}.")
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _idx_header(path: Path, file: io.BufferedIOBase) -> tuple[np.dtype, tuple[int, ...]]:
    """Type and shape of the entries that follow."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in IDX_DTYPES:
        raise ValueError(f"{path} is not an IDX file: it does not start with the IDX magic number.")
    ndim = magic[3]
    if not 1 <= ndim <= _MOST_AXES:
        raise ValueError(f"{path} is damaged: its IDX header has {ndim} axes; expected 1 to {_MOST_AXES}.")
    lengths = file.read(4 * ndim)
    if len(lengths) < 4 * ndim:
        raise ValueError(f"{path} is damaged: it ends within its IDX header.")
    return np.dtype(IDX_DTYPES[magic[2]]), tuple(int(length) for length in np.frombuffer(lengths, ">u4"))


def read_cifar10_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read one batch of CIFAR-10's binary version as images (N, 32, 32, 3) and labels (N,).

    A record is 3073 bytes: the label, then the red, the green and the blue plane, each row by row.

    Raises:
        ValueError: The file is not a whole number of records, or a label is above 9.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "data_batch_1.bin"
        >>> _ = path.write_bytes(bytes([5]) + bytes(3072))
        >>> images, labels = read_cifar10_batch(path)
        >>> images.shape, labels.tolist()
        ((1, 32, 32, 3), [5])
    """
    size = path.stat().st_size
    if size == 0 or size % 3073:
        raise ValueError(f"{path} is not a CIFAR-10 batch: its {size} bytes are not records of 3073.")
    records = np.fromfile(path, np.uint8).reshape(-1, 3073)
    if records[:, 0].max() > 9:
        raise ValueError(f"{path} is not a CIFAR-10 batch: it has label {records[:, 0].max()}; expected 0 to 9.")
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]


def read_npz(path: Path) -> RawData:
    """Read the arrays x_train, y_train, x_test, y_test of an .npz file. Nothing is unpickled.

    Raises:
        ValueError: The file is damaged, lacks an array, has an array that only pickle can read, or declares more than
            it can hold.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "mine.npz"
        >>> images, labels = np.zeros((4, 8, 8)), np.arange(4)
        >>> np.savez(path, x_train=images, y_train=labels, x_test=images[:2], y_test=labels[:2])
        >>> read_npz(path).test_images.shape
        (2, 8, 8)
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return RawData(*(_read_member(path, archive, name) for name in NPZ_ARRAYS))
    except (EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{path} cannot be read as arrays without pickle ({error}).") from None


def _read_member(path: Path, archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """One array of an .npz file. Its declared sizes are checked first, and no more than these is unpacked."""
    try:
        member = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise ValueError(f"{path} has no array {name}; expected {', '.join(NPZ_ARRAYS)}.") from None
    most = min(_MOST_BYTES, _MOST_RATIO * member.compress_size)
    if member.file_size > most:
        raise ValueError(
            f"{path} declares {member.file_size} bytes for {name}; expected at most {most} of"
            f" {member.compress_size} stored ones."
        )
    try:
        with archive.open(member) as file:
            shape, dtype = _npy_header(file)
            start = file.tell()
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as arrays without pickle ({name}: {error}).") from None
    size = math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise ValueError(f"{path} cannot be read as arrays without pickle ({name} holds Python objects).")
    if start + size != member.file_size:
        raise ValueError(
            f"{path} is damaged: {name} has {member.file_size} bytes; its header {shape} asks for {start + size}."
        )
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version[0]}.{version[1]} of the format is for names of fields alone")
    shape, _, dtype = read(file)
    return shape, dtype


def read_folder(name: str, folder: Path) -> RawData:
    """Read the data set `name` from `folder`: from NAME.npz if it exists, else from the published files.

    Raises:
        FileNotFoundError: The folder or one of the files is missing; the sentence names it.
        ValueError: A file is damaged.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"data_dir is '{folder}'; expected an existing folder with the files of {name!r}.")
    archive = folder / f"{name}.npz"
    if archive.is_file():
        return read_npz(archive)
    if name in ("mnist", "fashion_mnist"):
        return RawData(*(read_idx(_find(folder, file, f"{file}.gz")) for file in IDX_FILES))
    if name == "cifar10":
        train = [read_cifar10_batch(_find(folder, file)) for file in CIFAR_TRAIN_FILES]
        test = [read_cifar10_batch(_find(folder, file)) for file in CIFAR_TEST_FILES]
        return RawData(*(np.concatenate(arrays) for split in (train, test) for arrays in zip(*split, strict=True)))
    raise FileNotFoundError(f"data_dir '{folder}' has no {archive.name}; put it there, with {', '.join(NPZ_ARRAYS)}.")


def _find(folder: Path, *file_names: str) -> Path:
    for file_name in file_names:
        if (folder / file_name).is_file():
            return folder / file_name
    raise FileNotFoundError(
        f"data_dir '{folder}' has no file {' or '.join(file_names)}; put it there, or leave data_dir out to fetch "
        "the data set over the network."
    )


def fetch_openml(name: str) -> RawData:
    """Fetch "mnist", "fashion_mnist" or "cifar10" from OpenML; scikit-learn keeps a copy in its data folder.

    OpenML stores one table. Its last 10,000 images are the test split, as in the published files.

    Raises:
        ConnectionError: OpenML cannot be reached; the sentence says what to do instead.
        ValueError: A pixel is not an integer from 0 to 255.
    """
    openml_name, image_shape = OPENML[name]
    try:
        # Only the "liac-arff" parser works without pandas.
        table = sklearn.datasets.fetch_openml(openml_name, version=1, as_frame=False, parser="liac-arff")
    except OSError as error:
        raise ConnectionError(
            f"{name!r} cannot be fetched from OpenML ({error}); connect to a network, or put its files into a folder "
            "and name that with --config.data_dir."
        ) from error
    if not ((table.data >= 0) & (table.data <= 255) & (table.data == np.round(table.data))).all():
        raise ValueError(f"{name!r} from OpenML has pixels that are not integers from 0 to 255; remove its copy.")
    images = table.data.astype(np.uint8).reshape(-1, *image_shape).transpose(0, 2, 3, 1)
    # Targets are strings; their sorted order is the order of the published integer labels.
    labels = np.unique(table.target, return_inverse=True)[1]
    split = len(images) - OPENML_TEST_IMAGES
    return RawData(images[:split], labels[:split], images[split:], labels[split:])


def embedded_digits() -> RawData:
    """The 1797 digits (8 by 8 pixels, 0 to 16) that come with scikit-learn: 1500 to train, 297 to test.

    They are stored writer by writer. The split is random and fixed, so that both parts have one distribution.

    Example:
        >>> embedded_digits().test_images.shape
        (297, 8, 8)
    """
    digits = sklearn.datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    train, test = order[:-DIGITS_TEST_IMAGES], order[-DIGITS_TEST_IMAGES:]
    return RawData(digits.images[train], digits.target[train], digits.images[test], digits.target[test])

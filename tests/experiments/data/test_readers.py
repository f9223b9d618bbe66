"""Readers against files that the tests pack byte by byte from the published descriptions of the formats."""

import gzip
import struct

import numpy as np
import pytest

from experiments.data.readers import (
    embedded_digits,
    fetch_openml,
    read_cifar10_batch,
    read_folder,
    read_idx,
)


def idx_bytes(type_code, shape, entry_format, entries):
    header = struct.pack(">HBB", 0, type_code, len(shape)) + b"".join(struct.pack(">I", length) for length in shape)
    return header + b"".join(struct.pack(">" + entry_format, entry) for entry in entries)


@pytest.mark.parametrize(
    ("type_code", "entry_format", "entries"),
    [
        (0x08, "B", [0, 1, 127, 128, 254, 255]),
        (0x09, "b", [-128, -1, 0, 1, 2, 127]),
        (0x0B, "h", [-32768, -2, 0, 258, 513, 32767]),
        (0x0C, "i", [-(2**31), -2, 0, 258, 66051, 2**31 - 1]),
        (0x0D, "f", [-1.5, 0.0, 0.25, 1e30, -1e-30, 3.0]),
        (0x0E, "d", [-1.5, 0.0, 0.1, 1e300, -1e-300, 3.0]),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_idx_of_every_type(tmp_path, type_code, entry_format, entries, compress):
    content = idx_bytes(type_code, (2, 3), entry_format, entries)
    path = tmp_path / "array"
    path.write_bytes(gzip.compress(content) if compress else content)
    array = read_idx(path)
    assert array.shape == (2, 3)
    assert array.dtype.isnative
    # Row by row: the last axis changes fastest. Packing rounds to the stored type, so compare in that type.
    np.testing.assert_array_equal(array, np.array(entries, array.dtype).reshape(2, 3))


def test_idx_without_entries(tmp_path):
    path = tmp_path / "array"
    path.write_bytes(idx_bytes(0x08, (0, 5, 5), "B", []))
    assert read_idx(path).shape == (0, 5, 5)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not an IDX file"),
        (b"\x89PNG\r\n", "is not an IDX file"),
        (struct.pack(">HBB", 0, 0x0A, 1), "is not an IDX file"),
        (
            idx_bytes(0x08, (2, 3), "B", [1, 2, 3, 4, 5]),
            r"header \(2, 3\) asks for 18 bytes; expected at most 17",
        ),
        (idx_bytes(0x08, (2, 3), "B", range(7)), r"it has more bytes; its IDX header \(2, 3\) asks for 18"),
        (idx_bytes(0x08, (2, 3), "B", [])[:-4], "it ends within its IDX header"),
        # Headers that lie.
        (
            idx_bytes(0x08, (2**32 - 1,) * 4, "B", []),
            r"asks for 340282366604025813516997721482669850645 bytes; expected",
        ),
        (
            idx_bytes(0x0E, (2**20, 2**20), "d", []),
            "asks for 8796093022220 bytes; expected at most 12 of a file of 12",
        ),
        (idx_bytes(0x08, (1,) * 9, "B", [1]), "its IDX header has 9 axes; expected 1 to 8"),
        (idx_bytes(0x08, (), "B", [1]), "its IDX header has 0 axes; expected 1 to 8"),
        # gzip headers hold the time, which would be in the name of the test.
        (gzip.compress(idx_bytes(0x08, (6,), "B", range(6)), mtime=0)[:-6], "gzip stream cannot be read to the end"),
    ],
)
def test_idx_refuses_what_is_not_whole(tmp_path, content, sentence):
    path = tmp_path / "array"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        read_idx(path)


def cifar_record(label, pixel):
    """One record of the binary version: the label, then all of red, all of green, all of blue, row by row."""
    planes = [[pixel(color, row, column) for row in range(32) for column in range(32)] for color in range(3)]
    return struct.pack("B", label) + b"".join(struct.pack("1024B", *plane) for plane in planes)


def test_cifar10_batch(tmp_path):
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(
        cifar_record(9, lambda color, row, column: 80 * color + row)
        + cifar_record(0, lambda color, row, column: 80 * color + column)
    )
    images, labels = read_cifar10_batch(path)
    assert labels.tolist() == [9, 0]
    color, row, column = np.arange(3), np.arange(32)[:, None, None], np.arange(32)[:, None]
    np.testing.assert_array_equal(images[0], np.broadcast_to(80 * color + row, (32, 32, 3)))
    np.testing.assert_array_equal(images[1], np.broadcast_to(80 * color + column, (32, 32, 3)))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"", "0 bytes are not records"), (bytes(3072), "3072 bytes"), (bytes([10]) + bytes(3072), "label 10")],
)
def test_cifar10_refuses_files_that_are_not_batches(tmp_path, content, sentence):
    path = tmp_path / "test_batch.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        read_cifar10_batch(path)


def test_folder_of_mnist(tmp_path):
    # The training files compressed, the test files not: both are found.
    for split, count, suffix in (("train", 3, ".gz"), ("t10k", 2, "")):
        pack = gzip.compress if suffix else bytes
        images = pack(idx_bytes(0x08, (count, 28, 28), "B", [k % 251 for k in range(count * 784)]))
        (tmp_path / f"{split}-images-idx3-ubyte{suffix}").write_bytes(images)
        labels = pack(idx_bytes(0x08, (count,), "B", range(count)))
        (tmp_path / f"{split}-labels-idx1-ubyte{suffix}").write_bytes(labels)
    for name in ("mnist", "fashion_mnist"):
        raw = read_folder(name, tmp_path)
        assert raw.train_images.shape == (3, 28, 28)
        assert raw.train_images[2, 1, 5] == (2 * 784 + 28 + 5) % 251
        assert raw.test_images.shape == (2, 28, 28)
        assert (raw.train_labels.tolist(), raw.test_labels.tolist()) == ([0, 1, 2], [0, 1])


def test_folder_of_cifar10_keeps_the_order_of_its_batches(tmp_path):
    for batch in range(1, 6):
        (tmp_path / f"data_batch_{batch}.bin").write_bytes(cifar_record(batch, lambda *_: 10 * batch))  # noqa: B023
    (tmp_path / "test_batch.bin").write_bytes(cifar_record(7, lambda *_: 70))
    raw = read_folder("cifar10", tmp_path)
    assert raw.train_labels.tolist() == [1, 2, 3, 4, 5]
    assert raw.train_images[:, 0, 0, 0].tolist() == [10, 20, 30, 40, 50]
    assert (raw.test_labels.tolist(), raw.test_images.shape) == ([7], (1, 32, 32, 3))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mnist", "has no file train-images-idx3-ubyte or train-images-idx3-ubyte.gz; put it there, or leave data_dir"),
        ("cifar10", "has no file data_batch_1.bin; put it there"),
        ("mine", "has no mine.npz; put it there, with x_train, y_train, x_test, y_test"),
    ],
)
def test_folder_names_the_missing_file(tmp_path, name, sentence):
    with pytest.raises(FileNotFoundError, match=sentence):
        read_folder(name, tmp_path)


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data_dir is '.*nowhere'; expected an existing folder"):
        read_folder("mnist", tmp_path / "nowhere")


@pytest.mark.parametrize("pixel", [256.0, -1.0, 0.5, np.nan])
def test_openml_pixels_are_not_wrapped(monkeypatch, pixel):
    class Table:
        data = np.full((10_001, 784), pixel)
        target = np.array(["0"] * 10_001)

    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda *_, **__: Table)
    with pytest.raises(ValueError, match="'mnist' from OpenML has pixels that are not integers from 0 to 255"):
        fetch_openml("mnist")


def test_openml_table_becomes_images(monkeypatch):
    class Table:
        # Colour planes one after the other, as in the published files; targets are strings.
        data = np.arange(10_004 * 3072).reshape(10_004, 3072) % 256.0
        target = np.array(["2", "0", "1", "2"] + ["0"] * 10_000)

    def fetch(name, **options):
        assert name == "CIFAR_10"
        assert options == {"version": 1, "as_frame": False, "parser": "liac-arff"}
        return Table

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    raw = fetch_openml("cifar10")
    assert raw.train_images.shape == (4, 32, 32, 3)
    assert raw.test_images.shape == (10_000, 32, 32, 3)
    assert raw.train_labels.tolist() == [2, 0, 1, 2]
    image, row, column, color = 1, 3, 5, 2
    assert raw.train_images[image, row, column, color] == (3072 * image + 1024 * color + 32 * row + column) % 256


def test_digits_are_split_once_and_for_all():
    raw = embedded_digits()
    assert raw.train_images.shape == (1500, 8, 8)
    assert raw.test_images.shape == (297, 8, 8)
    # Both parts have one distribution. Under random splitting the count of a class with share p in the 297 test
    # images is hypergeometric; 4 standard deviations, for each of 10 classes.
    everything = np.concatenate([raw.train_labels, raw.test_labels])
    for digit in range(10):
        share = np.mean(everything == digit)
        deviation = np.sqrt(297 * share * (1 - share) * (1797 - 297) / (1797 - 1))
        assert abs(np.sum(raw.test_labels == digit) - 297 * share) < 4 * deviation

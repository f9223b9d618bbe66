"""Archives: arrays of .npz files without pickle, and bombs that are refused before they are unpacked."""

import gzip
import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from experiments.data.readers import NPZ_ARRAYS, read_folder, read_idx, read_npz


def write_npz(path, **changes):
    arrays = {"x_train": np.arange(8.0).reshape(2, 2, 2), "y_train": np.array([3, 1])}
    arrays |= {"x_test": arrays["x_train"][:1] + 0.5, "y_test": arrays["y_train"][:1]} | changes
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})
    return arrays


def test_npz(tmp_path):
    arrays = write_npz(tmp_path / "mine.npz")
    for array, name in zip(read_npz(tmp_path / "mine.npz"), NPZ_ARRAYS, strict=True):
        np.testing.assert_array_equal(array, arrays[name])


class Unpickled:
    """Records when it is unpickled."""

    seen = False

    def __setstate__(self, state):
        Unpickled.seen = True


def test_npz_never_unpickles(tmp_path):
    instance = Unpickled()
    instance.attribute = 1
    write_npz(tmp_path / "mine.npz", y_test=np.array([instance], dtype=object))
    with pytest.raises(ValueError, match="cannot be read as arrays without pickle"):
        read_npz(tmp_path / "mine.npz")
    assert not Unpickled.seen


def test_npz_refuses_a_missing_array_and_a_damaged_file(tmp_path):
    write_npz(tmp_path / "mine.npz", y_train=None)
    with pytest.raises(ValueError, match="has no array y_train; expected x_train, y_train, x_test, y_test"):
        read_npz(tmp_path / "mine.npz")
    whole = tmp_path / "whole.npz"
    write_npz(whole)
    (tmp_path / "half.npz").write_bytes(whole.read_bytes()[:200])
    (tmp_path / "text.npz").write_text("hello")
    with (tmp_path / "one_array.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    for name in ("half", "text", "one_array"):
        with pytest.raises(ValueError, match="cannot be read as arrays"):
            read_npz(tmp_path / f"{name}.npz")


def test_folder_prefers_npz(tmp_path):
    arrays = write_npz(tmp_path / "mnist.npz")
    np.testing.assert_array_equal(read_folder("mnist", tmp_path).train_images, arrays["x_train"])


def peak_memory(call):
    """Most bytes that Python has allocated at once in a call that must be refused, and the sentence."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"expected at most|asks for") as refusal:
            call()
        return tracemalloc.get_traced_memory()[1], str(refusal.value)
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    """10 MB of zeros in 10 kB: behind an honest small header, and behind one that asks for more than can be there."""
    for length in (10, 2**31):
        path = tmp_path / "bomb"
        path.write_bytes(gzip.compress(struct.pack(">HBBI", 0, 0x08, 1, length) + bytes(10**7), 9))
        peak, sentence = peak_memory(lambda path=path: read_idx(path))
        assert peak < 10**6
        assert f"asks for {8 + length}" in sentence


def npy_bytes(shape, entries=b""):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue() + entries


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        (npy_bytes((2**45,)), "asks for 35184372088960"),
        (npy_bytes((4,), bytes(10**7)), "has 10000128 bytes; its header"),
        (npy_bytes((10,), bytes(9)), "has 137 bytes; its header"),
    ],
    ids=["more", "less", "one short"],
)
def test_npz_headers_that_lie_are_refused_before_they_are_read(tmp_path, member, sentence):
    with zipfile.ZipFile(tmp_path / "mine.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in NPZ_ARRAYS:
            archive.writestr(f"{name}.npy", member)
    peak, said = peak_memory(lambda: read_npz(tmp_path / "mine.npz"))
    assert peak < 10**6
    assert sentence in said


def test_npz_members_of_a_declared_size_that_cannot_be_are_refused(tmp_path):
    """The size of the central directory is what zipfile goes by; the format's limit is 1,032 bytes for one."""
    path = tmp_path / "mine.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in NPZ_ARRAYS:
            archive.writestr(f"{name}.npy", npy_bytes((10,), bytes(10)))
    content = path.read_bytes()
    size = struct.pack("<I", len(npy_bytes((10,), bytes(10))))
    directory = content.index(b"PK\1\2")
    path.write_bytes(content[:directory] + content[directory:].replace(size, struct.pack("<I", 2**31)))
    peak, sentence = peak_memory(lambda: read_npz(path))
    assert peak < 10**6
    assert "declares 2147483648 bytes for x_train; expected at most" in sentence

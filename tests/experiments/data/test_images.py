"""load_data: normalization, shuffling and refusals."""

import urllib.error

import numpy as np
import pytest
import sklearn.datasets

from experiments.data.images import as_sequences, as_vectors, load_data


def test_digits_are_normalized():
    data = load_data("digits")
    # Pixels are rounded to float32: the mean of 96,000 of them to about 1e-7, the rest is accumulation.
    assert abs(data.train_images.mean(dtype=float)) < 1e-6
    assert abs(data.train_images.std(dtype=float) - 1) < 1e-6
    # ξ·ξ/d averages 1, for images and for their rows.
    for xs in (as_vectors(data.train_images), as_sequences(data.train_images).reshape(-1, 8)):
        assert abs(np.mean(np.sum(xs.astype(float) ** 2, axis=1) / xs.shape[1]) - 1) < 1e-6
    assert data.train_images.dtype == np.float32
    assert data.train_labels.dtype == np.int32


def test_every_digit_is_there_once_with_its_label():
    data = load_data("digits", seed=3)
    digits = sklearn.datasets.load_digits()
    images = np.concatenate([data.train_images, data.test_images])[..., 0].astype(float)
    # One affine map takes normalized pixels back to the integers 0..16.
    lowest, highest = images.min(), images.max()
    pixels = np.rint((images - lowest) / (highest - lowest) * 16)
    labels = np.concatenate([data.train_labels, data.test_labels])

    def rows(pixels, labels):
        return sorted((*image.ravel(), label) for image, label in zip(pixels, labels, strict=True))

    assert rows(pixels, labels) == rows(digits.images, digits.target)


def test_shuffling_depends_on_the_seed_and_keeps_the_splits():
    first, again, other = load_data(seed=1), load_data(seed=1), load_data(seed=2)
    np.testing.assert_array_equal(first.train_images, again.train_images)
    np.testing.assert_array_equal(first.test_labels, again.test_labels)
    assert not np.array_equal(first.train_images, other.train_images)

    def as_set(images):
        return {image.tobytes() for image in images}

    assert as_set(first.train_images) == as_set(other.train_images)
    assert as_set(first.test_images) == as_set(other.test_images)


def test_fewer_images_are_the_first_ones_on_the_same_scale():
    some, everything = load_data(num_train=5, num_test=7), load_data()
    np.testing.assert_array_equal(some.train_images, everything.train_images[:5])
    np.testing.assert_array_equal(some.test_labels, everything.test_labels[:7])


def test_sequences_are_rows_from_top_to_bottom():
    image = np.arange(2 * 3 * 2).reshape(1, 2, 3, 2)
    assert as_sequences(image).tolist() == [[[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]]
    assert as_vectors(image).tolist() == [list(range(12))]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "mnits"}, "dataset is 'mnits'; expected one of 'digits', 'mnist', 'fashion_mnist', 'cifar10'"),
        ({"num_train": 0}, "num_train is 0; expected an integer of at least 1"),
        ({"num_train": 2000}, "num_train is 2000; expected at most 1500, all that 'digits' has in this split"),
        ({"num_test": 298}, "num_test is 298; expected at most 297"),
        ({"data_dir": "somewhere"}, "data_dir is 'somewhere'; expected none for 'digits'"),
    ],
)
def test_refusals(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        load_data(**arguments)


GOOD = {"x_train": np.arange(8.0).reshape(2, 2, 2), "y_train": np.array([3, 1])}
GOOD |= {"x_test": GOOD["x_train"], "y_test": GOOD["y_train"]}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"x_train": np.zeros((2, 4))}, r"training images of shape \(2, 4\)"),
        ({"x_test": np.full((2, 2, 2), np.inf)}, "test images .* expected finite"),
        ({"x_train": np.array([[["a"]]])}, "training images .* dtype <U1"),
        ({"y_train": np.array([1])}, r"training labels of shape \(1,\) .* one integer for each of its 2 images"),
        ({"y_test": np.array([1.0, 2.0])}, "test labels .* dtype float64"),
        ({"x_test": np.zeros((0, 2, 2)), "y_test": np.zeros(0, int)}, r"test labels of shape \(0,\)"),
        ({"x_train": np.ones((2, 2, 2))}, "training pixels of standard deviation 0.0; expected images that differ"),
        ({"x_train": np.array([1e200, 0, 0, 0, 0, 0, 0, 1]).reshape(2, 2, 2)}, "of standard deviation inf"),
        ({"x_test": np.full((2, 2, 2), 1e300)}, "test pixels beyond float32 in units of the standard deviation 2.29"),
        ({"x_train": np.zeros((2, 0, 2)), "x_test": np.zeros((2, 0, 2))}, r"training images of shape \(2, 0, 2\)"),
        ({"x_test": np.zeros((2, 3, 3))}, r"test images of shape \(3, 3, 1\) and training images of shape \(2, 2, 1\)"),
        (
            {"x_test": np.zeros((2, 2, 2, 3))},
            r"test images of shape \(2, 2, 3\) and training images of shape \(2, 2, 1\)",
        ),
        ({"y_train": np.array([2**32 + 3, 1])}, "the training label 4294967299; expected labels from 0 to 2147483647"),
        ({"y_test": np.array([2**63, 1], np.uint64)}, "the test label 9223372036854775808; expected labels from 0"),
        ({"y_test": np.array([0, -1])}, "the test label -1; expected labels from 0"),
    ],
)
def test_refuses_arrays_that_are_not_images(tmp_path, changes, sentence):
    np.savez(tmp_path / "mine.npz", **(GOOD | changes))
    with pytest.raises(ValueError, match=sentence):
        load_data("mine", data_dir=tmp_path)


def test_own_data_set_by_name(tmp_path):
    np.savez(tmp_path / "mine.npz", **GOOD)
    data = load_data("mine", data_dir=tmp_path)
    # The pixels 0..7 have mean 3.5 and variance (8² - 1)/12.
    expected = (np.arange(8) - 3.5) / np.sqrt(63 / 12)
    np.testing.assert_allclose(np.sort(data.train_images.ravel()), expected, rtol=1e-6)


def test_the_fingerprint_is_of_the_values_alone(tmp_path):
    np.savez(tmp_path / "mine.npz", **GOOD)
    found = load_data("mine", data_dir=tmp_path).fingerprint
    assert load_data("mine", 1, 1, data_dir=tmp_path, seed=7).fingerprint == found
    same = {name: (array[..., None] if array.ndim == 3 else array).astype(np.uint8) for name, array in GOOD.items()}
    np.savez_compressed(tmp_path / "same.npz", **same)
    assert load_data("same", data_dir=tmp_path).fingerprint == found
    others = [{"y_train": np.array([1, 3])}, {"x_test": GOOD["x_test"] + 0.5}, {"x_test": GOOD["x_test"][:, ::-1]}]
    for number, other in enumerate(others):
        np.savez(tmp_path / f"{number}.npz", **(GOOD | other))
    assert len({found, *(load_data(str(number), data_dir=tmp_path).fingerprint for number in range(3))}) == 4


def test_without_a_network_one_sentence_says_what_to_do(monkeypatch):
    def fetch(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    with pytest.raises(ConnectionError) as refusal:
        load_data("fashion_mnist")
    sentence = str(refusal.value)
    assert "'fashion_mnist' cannot be fetched" in sentence
    assert "--config.data_dir" in sentence
    assert "\n" not in sentence

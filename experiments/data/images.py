"""Image data sets, shuffled by a seed and normalized, and the forms in which networks read images."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from experiments.data.readers import OPENML, RawData, embedded_digits, fetch_openml, read_folder
from ntk.checks import check_choice, check_count

NAMES = ("digits", *OPENML)
_LARGEST_LABEL = np.iinfo(np.int32).max


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Normalized images and integer labels.

    One mean and one standard deviation, over all pixels of the whole training split, normalize the pixels to mean 0 and
    variance 1. So ξ·ξ/d averages 1 over the training images, whether ξ is an image or one of its rows. The scale of an
    image does not depend on the number of images that are loaded.

    Attributes:
        fingerprint: A hash of all images and labels of the data set, chosen or not. It does not depend on the format of
            the files. Results with equal fingerprints come from equal data.
    """

    train_images: Float[np.ndarray, "train height width channels"]
    train_labels: Int[np.ndarray, " train"]
    test_images: Float[np.ndarray, "test height width channels"]
    test_labels: Int[np.ndarray, " test"]
    fingerprint: str


def load_data(
    name: str = "digits",
    num_train: int | None = None,
    num_test: int | None = None,
    *,
    data_dir: str | Path | None = None,
    seed: int = 0,
) -> Dataset:
    """Load a data set by name, from scikit-learn, a local folder or OpenML.

    Args:
        name: "digits" (embedded in scikit-learn), "mnist", "fashion_mnist" or "cifar10"; with `data_dir` also any
            name with a file NAME.npz there.
        num_train: The number of training images, the first after shuffling; None takes all.
        num_test: The number of test images; None takes all.
        data_dir: A folder with NAME.npz (arrays x_train, y_train, x_test, y_test), or with the four IDX files of MNIST
            or Fashion-MNIST (.gz or not), or with the six .bin files of CIFAR-10. None fetches from OpenML.
        seed: Shuffles each split. Images never change their split.

    Raises:
        ValueError: An argument is out of range, or a file is damaged.
        FileNotFoundError: The folder or one of its files is missing.
        ConnectionError: The data set must be fetched, and the network cannot be reached.

    Example:
        >>> data = load_data("digits", num_train=10)
        >>> data.train_images.shape, data.test_images.shape
        ((10, 8, 8, 1), (297, 8, 8, 1))
    """
    raw = _checked(name, _read(name, data_dir))
    rng = np.random.default_rng(seed)
    with np.errstate(over="ignore", invalid="ignore"):  # both are refused below
        mean, std = np.mean(raw.train_images, dtype=np.float64), np.std(raw.train_images, dtype=np.float64)
    train = _choose("num_train", num_train, name, rng.permutation(len(raw.train_images)))
    test = _choose("num_test", num_test, name, rng.permutation(len(raw.test_images)))
    if not 0 < std < np.inf:
        raise ValueError(
            f"{name!r} has training pixels of standard deviation {std}; expected images that differ, by finite amounts."
        )

    def normalize(split: str, images: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            pixels = (images - mean) / std
        if not np.abs(pixels).max() <= np.finfo(np.float32).max:
            raise ValueError(
                f"{name!r} has {split} pixels beyond float32 in units of the standard deviation {std:.3g} of training"
                " pixels; expected images of one scale."
            )
        return pixels.astype(np.float32)

    return Dataset(
        train_images=normalize("training", raw.train_images[train]),
        train_labels=raw.train_labels[train].astype(np.int32),
        test_images=normalize("test", raw.test_images[test]),
        test_labels=raw.test_labels[test].astype(np.int32),
        fingerprint=_fingerprint(raw),
    )


def as_vectors(
    images: Float[np.ndarray, "images height width channels"],
) -> Float[np.ndarray, "images pixels"]:
    """One vector per image, as an MLP reads it.

    Example:
        >>> as_vectors(np.zeros((5, 8, 8, 1))).shape
        (5, 64)
    """
    return images.reshape(len(images), -1)


def as_sequences(
    images: Float[np.ndarray, "images height width channels"],
) -> Float[np.ndarray, "images height row"]:
    """One sequence of rows per image, top to bottom, as an RNN reads it.

    Example:
        >>> as_sequences(np.zeros((5, 8, 8, 1))).shape
        (5, 8, 8)
    """
    return images.reshape(*images.shape[:2], -1)


def as_coarse_images(
    images: Float[np.ndarray, "images height width channels"],
) -> Float[np.ndarray, "images half_height half_width channels"]:
    """Images of half the height and width: each pixel is the mean of 2×2 pixels, times 2 to keep variances of order 1.

    Example:
        >>> as_coarse_images(np.zeros((5, 8, 9, 1))).shape
        (5, 4, 4, 1)
    """
    height, width = (size // 2 for size in images.shape[1:3])
    blocks = images[:, : 2 * height, : 2 * width].reshape(len(images), height, 2, width, 2, -1)
    return blocks.mean((2, 4)) * blocks.dtype.type(2)


def as_coarse_sequences(
    images: Float[np.ndarray, "images height width channels"],
) -> Float[np.ndarray, "images half_height row"]:
    """One sequence of rows per coarse image.

    Example:
        >>> as_coarse_sequences(np.zeros((5, 8, 8, 1))).shape
        (5, 4, 4)
    """
    return as_sequences(as_coarse_images(images))


def _read(name: str, data_dir: str | Path | None) -> RawData:
    if name == "digits":
        if data_dir is not None:
            raise ValueError(f"data_dir is '{data_dir}'; expected none for 'digits', which come with scikit-learn.")
        return embedded_digits()
    if data_dir is not None:
        return read_folder(name, Path(data_dir))
    check_choice("dataset", name, NAMES)
    return fetch_openml(name)


def _checked(name: str, raw: RawData) -> RawData:
    for split, images, labels in (("training", *raw[:2]), ("test", *raw[2:])):
        has_pixels = images.ndim in (3, 4) and images.dtype.kind in "uif" and 0 not in images.shape[1:]
        if not has_pixels or not np.isfinite(images).all():
            raise ValueError(
                f"{name!r} has {split} images of shape {images.shape} and dtype {images.dtype}; expected finite "
                "numbers of shape (N, height, width) or (N, height, width, channels)."
            )
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "ui" or labels.size == 0:
            raise ValueError(
                f"{name!r} has {split} labels of shape {labels.shape} and dtype {labels.dtype}; expected one integer "
                f"for each of its {len(images)} images."
            )
        if labels.min() < 0 or labels.max() > _LARGEST_LABEL:
            wrong = labels.min() if labels.min() < 0 else labels.max()
            raise ValueError(f"{name!r} has the {split} label {wrong}; expected labels from 0 to {_LARGEST_LABEL}.")
    # With channels.
    train_images, test_images = (
        images if images.ndim == 4 else images[..., None] for images in (raw.train_images, raw.test_images)
    )
    if train_images.shape[1:] != test_images.shape[1:]:
        raise ValueError(
            f"{name!r} has test images of shape {test_images.shape[1:]} and training images of shape"
            f" {train_images.shape[1:]}; expected one shape (height, width, channels)."
        )
    return raw._replace(train_images=train_images, test_images=test_images)


def _fingerprint(raw: RawData) -> str:
    """A hash of all shapes and values. It does not depend on the dtypes."""
    found = hashlib.sha256()
    for array in raw:
        found.update(repr(array.shape).encode())
        found.update(_canonical(array).tobytes())
    return found.hexdigest()[:16]


def _canonical(array: np.ndarray) -> np.ndarray:
    """The array as bytes if all values are integers from 0 to 255, and in float64 otherwise."""
    if array.min() >= 0 and array.max() <= 255:
        small = array.astype(np.uint8)
        if np.array_equal(small, array):
            return small
    return array.astype("<f8")


def _choose(argument: str, count: int | None, name: str, order: np.ndarray) -> np.ndarray:
    if count is None:
        return order
    check_count(argument, count)
    if count > len(order):
        raise ValueError(f"{argument} is {count}; expected at most {len(order)}, all that {name!r} has in this split.")
    return order[:count]

"""Training, validation and test points of one distribution, on the device."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from experiments.common.networks import Reader
from experiments.data.images import Dataset
from ntk.checks import check_count


class Samples(NamedTuple):
    """Inputs (N, …) as the network reads them, and classes (N,), in three disjoint parts.

    `noise` is Gaussian, of variance 1, for the test inputs.
    """

    x_train: Float[Array, "train ..."]
    y_train: Int[Array, " train"]
    x_validation: Float[Array, "validation ..."]
    y_validation: Int[Array, " validation"]
    x_test: Float[Array, "test ..."]
    y_test: Int[Array, " test"]
    noise: Float[Array, "test ..."]

    @property
    def num_classes(self) -> int:
        """C, where labels are 0, …, C − 1."""
        return 1 + max(int(y.max()) for y in (self.y_train, self.y_validation, self.y_test))


def draw_samples(
    data: Dataset,
    sizes: tuple[int, int, int],
    reads: Reader,
    *,
    seed: int = 0,
    dtype: DTypeLike = jnp.float32,
) -> Samples:
    """Points for training, validation and testing, drawn from all images of a data set together.

    The usual split of digits is by writers, so its halves have different distributions. Bounds need one distribution.

    Args:
        data: All images.
        sizes: Numbers of training, validation and test points.
        reads: Takes images; returns inputs.
        seed: The seed of the choice of points.
        dtype: The dtype of the inputs.

    Raises:
        ValueError: A size is not a positive integer, or there are not enough images.

    Example:
        >>> from experiments.data.images import load_data
        >>> samples = draw_samples(load_data(), (100, 50, 20), lambda images: images)
        >>> samples.x_train.shape, samples.y_test.shape
        ((100, 8, 8, 1), (20,))
    """
    for name, size in zip(("train_sizes", "num_validation", "num_test"), sizes, strict=True):
        check_count(name, size)
    images = np.concatenate([data.train_images, data.test_images])
    labels = np.concatenate([data.train_labels, data.test_labels])
    if sum(sizes) > len(images):
        raise ValueError(
            f"train_sizes, num_validation and num_test come to {sum(sizes)}; expected at most {len(images)}, all that"
            " the data set has."
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images))[: sum(sizes)]
    parts = np.split(order, np.cumsum(sizes)[:-1])
    arrays = [array for part in parts for array in (reads(images[part]).astype(dtype), labels[part].astype(np.int32))]
    noise = rng.standard_normal(arrays[4].shape).astype(dtype)
    return Samples(*jax.device_put([*arrays, noise]))

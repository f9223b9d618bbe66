"""One input of a program: an array of which only the places are known, so that parts of it can be taken."""

from collections.abc import Hashable, Iterator

import numpy as np
from jaxtyping import Int

from ntk.checks import shown
from ntk.programs.language.graph import refuse_arrays_of
from ntk.programs.language.positions import Place, Shape

Places = Place | np.ndarray | list[int]
Selection = Places | tuple[Places, ...]  # of NumPy's indexing


class Input:
    """One input of the network, or a part of it; indexed, iterated over and reshaped as a NumPy array.

    Attributes:
        places: Where its entries stand in the whole input, of the part's shape.
    """

    def __init__(self, places: Int[np.ndarray, "..."]):
        self.places = places

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of this part."""
        return self.places.shape

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("the input is a single entry, which has no length; expected a part with an axis.")
        return len(self.places)

    def __repr__(self) -> str:
        return f"the input, of shape {self.shape}, which is for an input_matrix or an output weight to read"

    def __iter__(self) -> Iterator["Input"]:
        if not self.shape:
            raise TypeError("the input is a single entry, which has no parts; expected a part with an axis.")
        return (Input(np.asarray(part)) for part in self.places)

    def __getitem__(self, index: Selection) -> "Input":
        """The part that NumPy's indexing takes.

        Raises:
            ValueError: NumPy refuses the index.
        """
        try:
            return Input(np.asarray(self.places[index]))
        except (IndexError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"index is {shown(index)} for a part of the input of shape {self.shape}; expected one that NumPy takes:"
                f" {error}."
            ) from None

    def reshape(self, *shape: int | tuple[int, ...]) -> "Input":
        """The same entries in another shape.

        Args:
            *shape: Integers or one tuple of them, as for `numpy.reshape`.

        Raises:
            ValueError: The shape has another number of entries, or is not a shape.
        """
        try:
            return Input(self.places.reshape(*shape))  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"shape is {shown(shape)}; expected one of {self.places.size} entries.") from None


class InputAtStep(Input):
    """The input at one step of a loop.

    Attributes:
        body: The body of the loop.
        every: The input at all steps, along a first axis.
    """

    def __init__(self, body: Hashable, every: Input):
        super().__init__(np.asarray(every.places[0]))
        self.body, self.every = body, every

    def __iter__(self) -> Iterator["InputAtStep"]:
        return (self[place] for place in range(len(self)))

    def __getitem__(self, index: Selection) -> "InputAtStep":
        """The part that NumPy's indexing takes."""
        indices = index if isinstance(index, tuple) else (index,)
        return InputAtStep(self.body, self.every[(slice(None), *indices)])

    def reshape(self, *shape: int | tuple[int, ...]) -> "InputAtStep":
        """The same entries in another shape."""
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        return InputAtStep(self.body, self.every.reshape(len(self.every), *sizes))


def _check_every_step(x: object, reader: str) -> None:
    if isinstance(x, InputAtStep):
        raise ValueError(f"{reader} is applied to the input at one step of a loop; expected an input matrix.")


def field_of(x: object, reader: str) -> tuple[tuple[int, ...], Shape]:
    """The places of the entries that `reader` is applied to, and the position axes: all but the last of x."""
    _check_every_step(x, reader)
    if not isinstance(x, Input) or not x.shape or 0 in x.shape:
        found = f"shape {x.shape}" if isinstance(x, Input) else shown(x)
        raise ValueError(f"{reader} is applied to {found}; expected a part of the input with an axis of entries.")
    return tuple(x.places.ravel().tolist()), x.shape[:-1]


def tokens_of(x: object, reader: str) -> tuple[tuple[int, ...], Shape]:
    """The places of the tokens that `reader` looks up, and their position axes: all axes of x."""
    if not isinstance(x, Input) or 0 in x.shape:
        found = f"shape {x.shape}" if isinstance(x, Input) else shown(x)
        raise ValueError(f"{reader} is applied to {found}; expected a part of the input that is not empty.")
    return tuple(x.places.ravel().tolist()), x.shape


def entries_of(x: object, reader: str) -> tuple[int, ...]:
    """The places of a vector of input entries, which `reader` is applied to; anything else is refused."""
    _check_every_step(x, reader)
    if not isinstance(x, Input) or len(x.shape) != 1 or not len(x):
        found = f"shape {x.shape}" if isinstance(x, Input) else shown(x)
        raise ValueError(f"{reader} is applied to {found}; expected a vector of input entries.")
    return tuple(int(place) for place in x.places)


refuse_arrays_of(Input, "the input of a program", "net.input_matrix(name) @ input")

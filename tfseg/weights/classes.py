"""Weights of single classes, matched by name between a file and a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tfseg.weights.report import listed

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class ClassAxes:
    """Axes of the variables of a layer that depend on the number of classes.

    Args:
        single: Axes with one position per class, by the name of the variable.
        others: Boolean, whether other axes depend on the number of classes, such as one with two channels per class.
    """

    single: Mapping[str, tuple[int, ...]]
    others: bool = False

    @classmethod
    def of(cls, shapes: Mapping[str, Shape], doubled: Mapping[str, Shape], classes: int) -> "ClassAxes | None":
        """Returns the axes of a layer, or None if it does not depend on the number of classes.

        >>> ClassAxes.of({"kernel": (1, 1, 3, 3)}, {"kernel": (1, 1, 3, 6)}, classes=3)
        ClassAxes(single={'kernel': (3,)}, others=False)

        Args:
            shapes: Shapes of the variables of the layer, by name.
            doubled: The same in a network with twice as many classes.
            classes: Integer, number of classes.
        """
        single: dict[str, tuple[int, ...]] = {}
        others = False
        for name, shape in shapes.items():
            pairs = list(enumerate(zip(shape, doubled[name], strict=True)))
            ones = tuple(axis for axis, pair in pairs if pair == (classes, 2 * classes))
            single |= {name: ones} if ones else {}
            others |= len(ones) < sum(size != twice for _, (size, twice) in pairs)
        return cls(single, others) if single or others else None


@dataclass(frozen=True)
class Classes:
    """Classes of a network and of a file of weights.

    >>> classes = Classes(("sky", "road", "car"), ("road", "sky", "tree"), {})
    >>> classes.matched, classes.new, classes.dropped
    (('sky', 'road'), ('car',), ('tree',))

    Args:
        ours: Names of the classes of the network, in order.
        theirs: Names of the classes of the file, in order; None if they are unknown.
        axes: Axes of the layers that depend on the number of classes, by the paths of the layers. Only needed if the
            names differ.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...] | None
    axes: Mapping[str, ClassAxes]

    @property
    def matched(self) -> tuple[str, ...]:
        """Names of the classes in both."""
        return tuple(name for name in self.ours if name in (self.theirs or ()))

    @property
    def new(self) -> tuple[str, ...]:
        """Names of the classes that the file does not have."""
        return tuple(name for name in self.ours if name not in (self.theirs or ()))

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names of the classes that the network does not have."""
        return tuple(name for name in self.theirs or () if name not in self.ours)

    def placed(self, initial: np.ndarray, array: np.ndarray, axes: Sequence[int]) -> np.ndarray | None:
        """Returns the initial values of a variable, with those of matched classes from the file.

        With several axes, values of pairs of matched classes are taken.

        >>> classes = Classes(("sky", "car"), ("road", "tree", "sky"), {})
        >>> classes.placed(np.zeros(2), np.array([1.0, 2.0, 3.0]), axes=[0]).tolist()
        [3.0, 0.0]

        Args:
            initial: Initial values of the variable.
            array: Values in the file.
            axes: Axes with one position per class.

        Returns:
            Array of the shape of `initial`; None if `array` has another shape than the same variable in a network with
            the classes of the file.
        """
        theirs = self.theirs or ()
        shape = tuple(len(theirs) if axis in axes else size for axis, size in enumerate(initial.shape))
        if array.shape != shape:
            return None
        mine = [self.ours.index(name) for name in self.matched]
        given = [theirs.index(name) for name in self.matched]
        result = initial.astype(np.result_type(initial, array))
        result[_grid(shape, axes, mine)] = array[_grid(shape, axes, given)]
        return result

    def report(self, filled: Sequence[str], initial: Sequence[str]) -> str:
        """Returns a line about the classes.

        Args:
            filled: Paths of the layers with channels of classes that were filled.
            initial: Paths of those that keep their initial weights.
        """
        kept = f"initial: {listed(initial)}" if initial else ""
        if self.theirs is None:
            parts = [f"filled in order: {listed(filled)}" if filled else "", kept]
            return "; ".join(["not matched by name, because the file has no labels", *filter(None, parts)])
        if self.ours == self.theirs:
            return f"all {len(self.ours)} the same"
        names = {"matched": self.matched, "new": self.new, "dropped": self.dropped}
        parts = [f"{title} {len(each)}: {listed(each)}" for title, each in names.items() if each]
        return "; ".join([*parts, *filter(None, [f"filled: {listed(filled)}" if filled else "", kept])])


def _grid(shape: Sequence[int], axes: Sequence[int], chosen: Sequence[int]) -> tuple[np.ndarray, ...]:
    """Returns the index of the chosen positions along `axes`, and of all positions along the other axes."""
    return np.ix_(*(chosen if axis in axes else range(size) for axis, size in enumerate(shape)))

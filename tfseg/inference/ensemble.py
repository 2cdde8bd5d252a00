"""Two networks that answer together, as DeconvNet and FCN (Noh, Hong & Han 2015, section 3.4)."""

from typing import Literal

import numpy as np

from tfseg.spec.declare import Location, spec


@spec
class Ensemble:
    """A second network, and how its answers meet those of the first."""

    network: Location
    """The second network: a run directory, whose own `inference` says how it sees an image, or a `.keras` file. It must
    tell the same classes apart."""
    merge: Literal["mean_prob", "score_product"] = "mean_prob"
    """`mean_prob`: the mean of both networks' probabilities, as the paper has it. `score_product`: the softmax of the
    first network's scores times the positive part of the second's, as the released code has it; that fits scores that
    are never negative, such as `proposals` give with `max`."""

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """What both say together: of probabilities with `mean_prob`, of scores before softmax with `score_product`.

        >>> together = Ensemble(network="fcn.keras", merge="score_product")
        >>> together(np.array([2.0, 3.0]), np.array([4.0, -1.0])).tolist()
        [8.0, 0.0]
        """
        return (first + second) / 2 if self.merge == "mean_prob" else first * np.maximum(second, 0)

"""Ensemble of two networks, as DeconvNet and FCN (Noh, Hong & Han 2015, section 5.2)."""

from typing import Literal

import numpy as np

from tfseg.spec.declare import Location, spec


@spec
class Ensemble:
    """Second network of an ensemble and the rule that combines both networks."""

    network: Location
    """Second network, with the same classes: a run directory, whose own `inference` settings apply except `ensemble`
    and `crf`, or a `.keras` file."""
    merge: Literal["mean_prob", "score_product"] = "mean_prob"
    """Rule that combines the networks. `mean_prob`: mean of the probabilities, as in the paper. `score_product`:
    softmax of the product of the first network's logits and the positive part of the second network's logits, as in
    the released code, for nonnegative logits such as those of `proposals` with `max`."""

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Combines two arrays: probabilities with `mean_prob`, logits with `score_product`.

        >>> ensemble = Ensemble(network="fcn.keras", merge="score_product")
        >>> ensemble(np.array([2.0, 3.0]), np.array([4.0, -1.0])).tolist()
        [8.0, 0.0]
        """
        return (first + second) / 2 if self.merge == "mean_prob" else first * np.maximum(second, 0)

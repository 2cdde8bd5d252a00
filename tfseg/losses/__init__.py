"""Losses that ignore unlabeled pixels."""

from tfseg.losses.cross_entropy import CrossEntropy
from tfseg.losses.resolution import Positions, subsample
from tfseg.losses.top_k import TopKCrossEntropy

__all__ = ["CrossEntropy", "Positions", "TopKCrossEntropy", "subsample"]

"""Losses that ignore unlabeled pixels."""

from tfseg.losses.boundary import Boundary
from tfseg.losses.boundary_map import BoundaryCrossEntropy
from tfseg.losses.cross_entropy import CrossEntropy
from tfseg.losses.focal import Focal
from tfseg.losses.lovasz import LovaszSoftmax
from tfseg.losses.ohem import OhemCrossEntropy
from tfseg.losses.resolution import Positions, subsample
from tfseg.losses.top_k import TopKCrossEntropy
from tfseg.losses.tversky import Dice, Over, Tversky
from tfseg.losses.weighted_sum import WeightedSum

__all__ = [
    "Boundary",
    "BoundaryCrossEntropy",
    "CrossEntropy",
    "Dice",
    "Focal",
    "LovaszSoftmax",
    "OhemCrossEntropy",
    "Over",
    "Positions",
    "TopKCrossEntropy",
    "Tversky",
    "WeightedSum",
    "subsample",
]

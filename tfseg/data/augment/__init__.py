"""Random augmentation of image and mask by the same transformation."""

from tfseg.data.augment.chain import Augment, Chain, Choice, augmented
from tfseg.data.augment.colors import ColorJitter
from tfseg.data.augment.contract import FILL, AugmentSpec, MixSpec, Pair, View, like, with_fill, without
from tfseg.data.augment.crop import cropped
from tfseg.data.augment.geometry import Flip, Rotate, Scale

__all__ = [
    "FILL",
    "Augment",
    "AugmentSpec",
    "Chain",
    "Choice",
    "ColorJitter",
    "Flip",
    "MixSpec",
    "Pair",
    "Rotate",
    "Scale",
    "View",
    "augmented",
    "cropped",
    "like",
    "with_fill",
    "without",
]

"""Random augmentation of image and mask by the same transformation."""

from tfseg.data.augment.chain import Augment, Chain, augmented
from tfseg.data.augment.colors import ColorJitter
from tfseg.data.augment.contract import FILL, AugmentSpec, MixSpec, Pair, View, like, with_fill, without
from tfseg.data.augment.crop import cropped
from tfseg.data.augment.geometry import Flip, Rotate, Scale
from tfseg.data.augment.mixing import ClassMix, CopyPaste, Mosaic
from tfseg.data.augment.policies import OneOf, RandAugment, Sometimes

__all__ = [
    "FILL",
    "Augment",
    "AugmentSpec",
    "Chain",
    "ClassMix",
    "ColorJitter",
    "CopyPaste",
    "Flip",
    "MixSpec",
    "Mosaic",
    "OneOf",
    "Pair",
    "RandAugment",
    "Rotate",
    "Scale",
    "Sometimes",
    "View",
    "augmented",
    "cropped",
    "like",
    "with_fill",
    "without",
]

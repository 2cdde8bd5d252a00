"""Random augmentation of image and mask by the same transformation."""

from tfseg.data.augment.chain import Augment, Chain, Choice, augmented
from tfseg.data.augment.clahe import Clahe
from tfseg.data.augment.colors import ColorJitter, Gamma, Gray
from tfseg.data.augment.contract import FILL, AugmentSpec, MixSpec, Pair, View, like, padding_value, with_fill, without
from tfseg.data.augment.crop import cropped
from tfseg.data.augment.distortion import Elastic, GridDistortion
from tfseg.data.augment.erasing import Cutout
from tfseg.data.augment.geometry import Flip, Pad, Rot90, Scale
from tfseg.data.augment.mixing import ClassMix, CopyPaste, Mosaic
from tfseg.data.augment.policies import OneOf, RandAugment, Sometimes
from tfseg.data.augment.projection import Affine, Rotate
from tfseg.data.augment.quality import Blur, Jpeg, Noise

__all__ = [
    "FILL",
    "Affine",
    "Augment",
    "AugmentSpec",
    "Blur",
    "Chain",
    "Choice",
    "Clahe",
    "ClassMix",
    "ColorJitter",
    "CopyPaste",
    "Cutout",
    "Elastic",
    "Flip",
    "Gamma",
    "Gray",
    "GridDistortion",
    "Jpeg",
    "MixSpec",
    "Mosaic",
    "Noise",
    "OneOf",
    "Pad",
    "Pair",
    "RandAugment",
    "Rot90",
    "Rotate",
    "Scale",
    "Sometimes",
    "View",
    "augmented",
    "cropped",
    "like",
    "padding_value",
    "with_fill",
    "without",
]

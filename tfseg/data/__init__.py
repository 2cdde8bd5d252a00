"""Input pipelines: batches of images and masks, which are read from files or synthetic."""

from tfseg.data.augment import (
    ClassMix,
    ColorJitter,
    CopyPaste,
    Flip,
    Mosaic,
    OneOf,
    RandAugment,
    Rotate,
    Scale,
    Sometimes,
)
from tfseg.data.box_sampling import ObjectBoxes, ProposalBoxes
from tfseg.data.counting import PixelCounts
from tfseg.data.dataset import Dataset
from tfseg.data.reading import explain, explained
from tfseg.data.sources.camvid import CamVid
from tfseg.data.sources.folder import Folder
from tfseg.data.sources.masks import Binary, Colors, Ids
from tfseg.data.sources.shapes import Shapes
from tfseg.data.sources.voc import Voc
from tfseg.data.spec import Data

__all__ = [
    "Binary",
    "CamVid",
    "ClassMix",
    "ColorJitter",
    "Colors",
    "CopyPaste",
    "Data",
    "Dataset",
    "Flip",
    "Folder",
    "Ids",
    "Mosaic",
    "ObjectBoxes",
    "OneOf",
    "PixelCounts",
    "ProposalBoxes",
    "RandAugment",
    "Rotate",
    "Scale",
    "Shapes",
    "Sometimes",
    "Voc",
    "explain",
    "explained",
]

"""Input pipelines: batches of images and masks, which are read from files or synthetic."""

from tfseg.data.augment import (
    Affine,
    Blur,
    Clahe,
    ClassMix,
    ColorJitter,
    CopyPaste,
    Cutout,
    Elastic,
    Flip,
    Gamma,
    Gray,
    GridDistortion,
    Jpeg,
    Mosaic,
    Noise,
    OneOf,
    Pad,
    RandAugment,
    Rot90,
    Rotate,
    Scale,
    Sometimes,
)
from tfseg.data.box_sampling import ObjectBoxes, ProposalBoxes
from tfseg.data.class_crop import ClassCrop
from tfseg.data.contract import AnyDataset
from tfseg.data.counting import PixelCounts
from tfseg.data.dataset import Dataset
from tfseg.data.passed import Passed, PassedDataset
from tfseg.data.reading import explain, explained
from tfseg.data.sampling import ClassSampling
from tfseg.data.sources.ade20k import Ade20k
from tfseg.data.sources.camvid import CamVid
from tfseg.data.sources.cityscapes import Cityscapes
from tfseg.data.sources.coco_stuff import CocoStuff
from tfseg.data.sources.folder import Folder
from tfseg.data.sources.mapillary import Mapillary
from tfseg.data.sources.masks import Binary, Colors, Ids
from tfseg.data.sources.mix import Mix, MixedSource
from tfseg.data.sources.python import Python
from tfseg.data.sources.shapes import Shapes
from tfseg.data.sources.tfrecord import TfRecord
from tfseg.data.sources.voc import Voc
from tfseg.data.spec import Data

__all__ = [
    "Ade20k",
    "Affine",
    "AnyDataset",
    "Binary",
    "Blur",
    "CamVid",
    "Cityscapes",
    "Clahe",
    "ClassCrop",
    "ClassMix",
    "ClassSampling",
    "CocoStuff",
    "ColorJitter",
    "Colors",
    "CopyPaste",
    "Cutout",
    "Data",
    "Dataset",
    "Elastic",
    "Flip",
    "Folder",
    "Gamma",
    "Gray",
    "GridDistortion",
    "Ids",
    "Jpeg",
    "Mapillary",
    "Mix",
    "MixedSource",
    "Mosaic",
    "Noise",
    "ObjectBoxes",
    "OneOf",
    "Pad",
    "Passed",
    "PassedDataset",
    "PixelCounts",
    "ProposalBoxes",
    "Python",
    "RandAugment",
    "Rot90",
    "Rotate",
    "Scale",
    "Shapes",
    "Sometimes",
    "TfRecord",
    "Voc",
    "explain",
    "explained",
]

"""Input pipelines: batches of images and masks, which are read from files or synthetic."""

from tfseg.data.augment import ColorJitter, Flip, Rotate, Scale
from tfseg.data.box_sampling import ObjectBoxes, ProposalBoxes
from tfseg.data.class_crop import ClassCrop
from tfseg.data.counting import PixelCounts
from tfseg.data.dataset import Dataset
from tfseg.data.reading import explain, explained
from tfseg.data.sampling import ClassSampling
from tfseg.data.sources.camvid import CamVid
from tfseg.data.sources.folder import Folder
from tfseg.data.sources.masks import Binary, Colors, Ids
from tfseg.data.sources.shapes import Shapes
from tfseg.data.sources.voc import Voc
from tfseg.data.spec import Data

__all__ = [
    "Binary",
    "CamVid",
    "ClassCrop",
    "ClassSampling",
    "ColorJitter",
    "Colors",
    "Data",
    "Dataset",
    "Flip",
    "Folder",
    "Ids",
    "ObjectBoxes",
    "PixelCounts",
    "ProposalBoxes",
    "Rotate",
    "Scale",
    "Shapes",
    "Voc",
    "explain",
    "explained",
]

"""Input pipelines: batches of images and masks, which are read from files or synthetic."""

from tfseg.data.augment import ColorJitter, Flip, Rotate, Scale
from tfseg.data.box_sampling import ObjectBoxes, ProposalBoxes
from tfseg.data.camvid import CamVid
from tfseg.data.counting import PixelCounts
from tfseg.data.dataset import Dataset
from tfseg.data.folder import Folder
from tfseg.data.masks import Binary, Colors, Ids
from tfseg.data.reading import explain, explained
from tfseg.data.shapes import Shapes
from tfseg.data.spec import Data
from tfseg.data.voc import Voc

__all__ = [
    "Binary",
    "CamVid",
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

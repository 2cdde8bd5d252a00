"""Input pipelines: batches of images and masks, which are read from files or synthetic."""

from tfseg.data.augment import ColorJitter, Flip, Rotate, Scale
from tfseg.data.box_sampling import ObjectBoxes, ProposalBoxes
from tfseg.data.contract import AnyDataset
from tfseg.data.counting import PixelCounts
from tfseg.data.dataset import Dataset
from tfseg.data.passed import Passed, PassedDataset
from tfseg.data.reading import explain, explained
from tfseg.data.sources.camvid import CamVid
from tfseg.data.sources.folder import Folder
from tfseg.data.sources.masks import Binary, Colors, Ids
from tfseg.data.sources.python import Python
from tfseg.data.sources.shapes import Shapes
from tfseg.data.sources.voc import Voc
from tfseg.data.spec import Data

__all__ = [
    "AnyDataset",
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
    "Passed",
    "PassedDataset",
    "PixelCounts",
    "ProposalBoxes",
    "Python",
    "Rotate",
    "Scale",
    "Shapes",
    "Voc",
    "explain",
    "explained",
]

"""Input pipelines: batches of images and masks, which are read from files or synthetic."""

from tfseg.data.augment import ColorJitter, Flip, Rotate, Scale
from tfseg.data.box_sampling import ObjectBoxes, ProposalBoxes
from tfseg.data.counting import PixelCounts
from tfseg.data.dataset import Dataset
from tfseg.data.reading import explain, explained
from tfseg.data.sources.ade20k import Ade20k
from tfseg.data.sources.camvid import CamVid
from tfseg.data.sources.cityscapes import Cityscapes
from tfseg.data.sources.coco_stuff import CocoStuff
from tfseg.data.sources.folder import Folder
from tfseg.data.sources.mapillary import Mapillary
from tfseg.data.sources.masks import Binary, Colors, Ids
from tfseg.data.sources.shapes import Shapes
from tfseg.data.sources.tfrecord import TfRecord
from tfseg.data.sources.voc import Voc
from tfseg.data.spec import Data

__all__ = [
    "Ade20k",
    "Binary",
    "CamVid",
    "Cityscapes",
    "CocoStuff",
    "ColorJitter",
    "Colors",
    "Data",
    "Dataset",
    "Flip",
    "Folder",
    "Ids",
    "Mapillary",
    "ObjectBoxes",
    "PixelCounts",
    "ProposalBoxes",
    "Rotate",
    "Scale",
    "Shapes",
    "TfRecord",
    "Voc",
    "explain",
    "explained",
]

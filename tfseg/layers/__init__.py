"""Keras layers for semantic segmentation, registered with Keras and usable in any Keras model."""

from tfseg.layers.aspp import AtrousSpatialPyramidPooling
from tfseg.layers.atrous_pool import AtrousMaxPooling2D
from tfseg.layers.attention_to_scale import AttentionToScale
from tfseg.layers.batch_norm import BatchNormalization
from tfseg.layers.conv import AtrousConv2D, AtrousSeparableConv2D
from tfseg.layers.crf_rnn import CrfRnn
from tfseg.layers.crop import CropLike
from tfseg.layers.dilated_context import DilatedContext
from tfseg.layers.dropout import McDropout
from tfseg.layers.mirror import MirrorPadding2D
from tfseg.layers.normalize import Normalize
from tfseg.layers.pad_to_grid import PadToGrid
from tfseg.layers.pad_to_size import PadToSize
from tfseg.layers.parallel_classifier import ParallelAtrousClassifier
from tfseg.layers.pool import CaffeAveragePooling2D, CaffeMaxPooling2D
from tfseg.layers.pyramid import PyramidPooling
from tfseg.layers.response_normalization import LocalResponseNormalization
from tfseg.layers.scale import FixedScale
from tfseg.layers.unpool import MaxPoolingWithArgmax2D, MaxUnpooling2D
from tfseg.layers.upsample import BilinearConv2DTranspose, ResizeLike
from tfseg.layers.zoom import ResizeBy, ZoomLike

__all__ = [
    "AtrousConv2D",
    "AtrousMaxPooling2D",
    "AtrousSeparableConv2D",
    "AtrousSpatialPyramidPooling",
    "AttentionToScale",
    "BatchNormalization",
    "BilinearConv2DTranspose",
    "CaffeAveragePooling2D",
    "CaffeMaxPooling2D",
    "CrfRnn",
    "CropLike",
    "DilatedContext",
    "FixedScale",
    "LocalResponseNormalization",
    "MaxPoolingWithArgmax2D",
    "MaxUnpooling2D",
    "McDropout",
    "MirrorPadding2D",
    "Normalize",
    "PadToGrid",
    "PadToSize",
    "ParallelAtrousClassifier",
    "PyramidPooling",
    "ResizeBy",
    "ResizeLike",
    "ZoomLike",
]

"""Encoders: image in, features at several strides out."""

from tfseg.backbones.batch_norm import unfold_batch_norm
from tfseg.backbones.features import Backbone, Features, Stage
from tfseg.backbones.mobilenet_v2 import MobileNetV2
from tfseg.backbones.small_cnn import SmallCnn
from tfseg.backbones.vgg import Vgg16, convert_vgg16
from tfseg.backbones.weights import WeightsReport

__all__ = [
    "Backbone",
    "Features",
    "MobileNetV2",
    "SmallCnn",
    "Stage",
    "Vgg16",
    "WeightsReport",
    "convert_vgg16",
    "unfold_batch_norm",
]

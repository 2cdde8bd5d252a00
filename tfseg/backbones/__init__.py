"""Encoders, from an image to feature maps at several strides."""

from tfseg.backbones.alexnet import AlexNet
from tfseg.backbones.applications_net import Applications
from tfseg.backbones.features import Backbone, Features, Stage
from tfseg.backbones.googlenet import GoogLeNet
from tfseg.backbones.mobilenet_v2 import MobileNetV2
from tfseg.backbones.resnet import Resnet
from tfseg.backbones.small_cnn import SmallCnn
from tfseg.backbones.unet_encoder import ContractingPath
from tfseg.backbones.vgg import FullyConnected, Vgg16
from tfseg.weights import WeightsReport, convert_vgg16, unfold_batch_norm

__all__ = [
    "AlexNet",
    "Applications",
    "Backbone",
    "ContractingPath",
    "Features",
    "FullyConnected",
    "GoogLeNet",
    "MobileNetV2",
    "Resnet",
    "SmallCnn",
    "Stage",
    "Vgg16",
    "WeightsReport",
    "convert_vgg16",
    "unfold_batch_norm",
]

"""Decoders, which compute class scores from features; one module per decoder."""

from tfseg.models.decoders.deconvnet import DeconvNet
from tfseg.models.decoders.deeplab_v1 import DeepLabV1
from tfseg.models.decoders.deeplab_v2 import DeepLabV2
from tfseg.models.decoders.deeplab_v3 import DeepLabV3
from tfseg.models.decoders.deeplab_v3_plus import DeepLabV3Plus
from tfseg.models.decoders.dilation import Dilation
from tfseg.models.decoders.fcn import Fcn
from tfseg.models.decoders.pspnet import PspNet
from tfseg.models.decoders.segnet import SegNet
from tfseg.models.decoders.unet import Unet

__all__ = [
    "DeconvNet",
    "DeepLabV1",
    "DeepLabV2",
    "DeepLabV3",
    "DeepLabV3Plus",
    "Dilation",
    "Fcn",
    "PspNet",
    "SegNet",
    "Unet",
]

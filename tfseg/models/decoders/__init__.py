"""From features to scores of the classes; one file for each family of papers."""

from tfseg.models.decoders.deconvnet import DeconvNet
from tfseg.models.decoders.deeplab_v3 import DeepLabV3
from tfseg.models.decoders.deeplab_v3_plus import DeepLabV3Plus
from tfseg.models.decoders.fcn import Fcn
from tfseg.models.decoders.pspnet import PspNet
from tfseg.models.decoders.unet import Unet

__all__ = ["DeconvNet", "DeepLabV3", "DeepLabV3Plus", "Fcn", "PspNet", "Unet"]

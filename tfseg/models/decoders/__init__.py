"""From features to scores of the classes; one file for each family of papers."""

from tfseg.models.decoders.deconvnet import DeconvNet
from tfseg.models.decoders.fcn import Fcn
from tfseg.models.decoders.pspnet import PspNet
from tfseg.models.decoders.unet import Unet

__all__ = ["DeconvNet", "Fcn", "PspNet", "Unet"]

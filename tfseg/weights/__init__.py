"""Loading of pretrained weights, from this project or elsewhere, into the networks of this project."""

from tfseg.weights.classes import ClassAxes, Classes
from tfseg.weights.classifier import convert_vgg16
from tfseg.weights.fill import fill
from tfseg.weights.folding import unfold_batch_norm
from tfseg.weights.initialize import initialize
from tfseg.weights.readers import Arrays, arrays_of, read_arrays
from tfseg.weights.report import WeightsReport

__all__ = [
    "Arrays",
    "ClassAxes",
    "Classes",
    "WeightsReport",
    "arrays_of",
    "convert_vgg16",
    "fill",
    "initialize",
    "read_arrays",
    "unfold_batch_norm",
]

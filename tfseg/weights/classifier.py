"""A classifier in memory instead of a file."""

import keras

from tfseg.weights.fill import fill
from tfseg.weights.modules import Modules
from tfseg.weights.readers import arrays_of
from tfseg.weights.report import WeightsReport
from tfseg.weights.vgg16 import is_vgg16


def convert_vgg16(classifier: keras.Model, model: keras.Model) -> WeightsReport:
    """Fills the VGG16 layers of `model` from a `keras.applications.VGG16(include_top=True)`.

    Its `predictions` fill `score_fr` too where `model` scores as many classes. Where `fc6` and `fc7` are smaller, or
    are branches of a classifier, they are filled with a choice of the taps and filters: see `decimated`.
    """
    required = [name for name in Modules.of(model).variables if is_vgg16(name)]
    return fill(model, arrays_of(classifier), f"classifier {classifier.name!r}", required=required, whole=False)

"""Loading of weights from a classifier in memory."""

import keras

from tfseg.weights.fill import fill
from tfseg.weights.modules import Modules
from tfseg.weights.readers import arrays_of
from tfseg.weights.report import WeightsReport
from tfseg.weights.vgg16 import is_vgg16


def convert_vgg16(classifier: keras.Model, model: keras.Model) -> WeightsReport:
    """Fills the VGG16 layers of `model` from a `keras.applications.VGG16(include_top=True)`.

    The layer `predictions` fills `score_fr` if both have the same number of classes. If `fc6` and `fc7` are smaller
    than in the classifier, or are branches of a decoder, their kernels are subsampled and filters are chosen at random:
    see `decimated`.

    Args:
        classifier: Model whose layers are named as in `keras.applications.VGG16`.
        model: Functional model with the VGG16 layers of tfseg.

    Returns:
        A `WeightsReport`.

    Raises:
        WeightsError: If a VGG16 layer of `model` cannot be filled. The model is then unchanged.
    """
    required = [name for name in Modules.of(model).variables if is_vgg16(name)]
    return fill(model, arrays_of(classifier), f"classifier {classifier.name!r}", required=required, whole=False)

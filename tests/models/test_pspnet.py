"""PSPNet: parameter count, auxiliary scores, image sizes and gradients."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_unpooling import LABELS, VOC, image
from tfseg.backbones import Resnet, SmallCnn, Vgg16
from tfseg.context import Context
from tfseg.models import Segmenter, describe
from tfseg.models.decoders import PspNet
from tfseg.models.outputs import Scores

SMALL = Segmenter(backbone=Resnet(depth=50, width_multiplier=1 / 32, output_stride=8), decoder=PspNet(filters=4))


def test_parameters() -> None:
    """Sums ResNet-50's 23,508,032, four levels of 512, a 3x3 convolution of 4096 channels and a classifier; in training
    also the auxiliary branch."""
    pyramid = 4 * (2048 * 512 + 2 * 512)
    head = 9 * 4096 * 512 + 2 * 512 + 512 * 21 + 21
    branch = 9 * 1024 * 256 + 2 * 256 + 256 * 21 + 21
    spec = Segmenter(backbone=Resnet(depth=50, output_stride=8), decoder=PspNet())
    with keras.StatelessScope(initialize_variables=False):
        description, training = describe(spec.build(VOC)), spec.build(VOC, training=True)
    assert description.trainable == 23_508_032 + pyramid + head == 46_592_597
    assert description.output_stride == 8
    assert description.receptive_field == math.inf  # the pyramid pools the whole image
    assert sum(int(np.prod(weight.shape)) for weight in training.trainable_weights) == 46_592_597 + branch


def test_auxiliary_branch_scores_the_penultimate_stage() -> None:
    model = SMALL.build(LABELS, training=True)
    assert list(model.output) == ["logits", "scores", "aux_stage"]
    assert model.get_layer("aux_conv").input is model.get_layer("conv4_block6_out").output
    assert model.get_layer("pyramid").input is model.get_layer("conv5_block3_out").output
    outputs = model(image(65, 97))
    assert outputs["logits"].shape == (2, 65, 97, 3)
    assert outputs["scores"].shape == outputs["aux_stage"].shape == (2, 9, 13, 3)
    assert not [layer.name for layer in SMALL.build(LABELS).layers if "aux" in layer.name]


def test_auxiliary_branch_is_optional() -> None:
    spec = Segmenter(backbone=SmallCnn(filters=2), decoder=PspNet(filters=4, auxiliary=False))
    assert list(spec.build(LABELS, training=True).output) == ["logits", "scores"]


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("size", [(1, 1), (17, 40), (65, 97)])
def test_any_image_size(size: tuple[int, int]) -> None:
    """Feature maps smaller than the number of bins are valid too."""
    logits = np.asarray(SMALL.build(LABELS)(image(*size)))
    assert logits.shape == (2, *size, 3)
    assert np.isfinite(logits).all()


def test_every_weight_has_a_gradient() -> None:
    keras.utils.set_random_seed(2)
    model = SMALL.build(LABELS, training=True)
    for weight in model.trainable_weights:  # avoids dead ReLUs
        if "beta" in weight.path:
            weight.assign(tf.random.uniform(weight.shape, 0.1, 0.5))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    random = np.random.default_rng(1)
    with tf.GradientTape() as tape:
        outputs = model(image(65, 97), training=True)
        value = loss(random.integers(0, 3, (2, 65, 97)), outputs["logits"])
        value += 0.4 * loss(random.integers(0, 3, (2, 9, 13)), outputs["aux_stage"])
    gradients = tape.gradient(value, [weight.value for weight in model.trainable_weights])
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        assert gradient is not None and np.isfinite(gradient).all() and np.any(gradient), weight.path


def test_scores_are_resized_with_aligned_corners() -> None:
    """The corner positions of the scores coincide with the corner pixels of the logits, as released."""
    outputs = SMALL.build(LABELS, training=True)(image(65, 97))
    logits, scores = np.asarray(outputs["logits"]), np.asarray(outputs["scores"])
    np.testing.assert_allclose(logits[:, ::8, ::8], scores, atol=1e-5)


def test_decoder_can_be_called_directly() -> None:
    tensor = keras.Input((None, None, 3))
    scores = PspNet(filters=4)(SmallCnn(filters=2)(tensor), tensor, 5)
    assert isinstance(scores, Scores)
    assert (scores.main.shape[-1], list(scores.auxiliary)) == (5, ["stage"])


def test_features_that_extend_beyond_the_image_are_reported() -> None:
    message = (
        "scores of vgg16 in its original form extend beyond the image and must be cropped, not resized. "
        "Set model.backbone.form to same, or the decoder to fcn"
    )
    spec = Segmenter(backbone=Vgg16(form="original"), decoder=PspNet())
    assert list(spec.problems(Context(LABELS, 3))) == [(("decoder",), message)]

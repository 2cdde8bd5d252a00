"""VGG16: Caffe names, and the fully connected layers of the classifier as convolutions."""

import re

import keras
import numpy as np
import pytest

from tfseg.backbones import FullyConnected, Vgg16, convert_vgg16
from tfseg.labels import Labels
from tfseg.layers.norm import Normalization, normalization
from tfseg.models import Segmenter
from tfseg.models.decoders import Fcn
from tfseg.spec.problems import SpecError

BLOCKS = ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3))
TRUNK = [name for block, count in BLOCKS for name in (*(f"conv{block}_{i + 1}" for i in range(count)), f"pool{block}")]
NAMES = ["normalize", *TRUNK, "fc6", "drop6", "fc7", "drop7"]


def built(backbone: Vgg16, channels: int = 3) -> keras.Model:
    image = keras.Input((None, None, channels), name="image")
    return keras.Model(image, [stage.tensor for stage in backbone(image).stages])


def test_layer_names_of_the_prototxt() -> None:
    assert [layer.name for layer in built(Vgg16(width_multiplier=0.01)).layers] == ["image", *NAMES]
    assert [layer.name for layer in built(Vgg16(width_multiplier=0.01, form="original")).layers] == [
        "image",
        NAMES[0],
        "pad",
        *NAMES[1:],
    ]


def test_stages() -> None:
    features = Vgg16(width_multiplier=0.25)(keras.Input((None, None, 3)))
    assert [(stage.name, stage.stride, stage.tensor.shape[-1]) for stage in features.stages] == [
        ("pool1", 2, 16),
        ("pool2", 4, 32),
        ("pool3", 8, 64),
        ("pool4", 16, 128),
        ("pool5", 32, 128),
        ("fc7", 32, 1024),
    ]
    assert features.strides == (2, 4, 8, 16, 32)
    assert features.at(32).name == "fc7"


@pytest.mark.parametrize("size", [(1, 1), (64, 96), (65, 33), (50, 71)])
def test_feature_maps_of_the_same_form_cover_the_image(size: tuple[int, int]) -> None:
    for output, stride in zip(
        built(Vgg16(width_multiplier=0.01))(np.zeros((1, *size, 3))), (2, 4, 8, 16, 32, 32), strict=True
    ):
        assert output.shape[1:3] == tuple(-(-side // stride) for side in size)


def test_preprocessing_depends_on_channels() -> None:
    assert built(Vgg16(width_multiplier=0.01)).get_layer("normalize").get_config()["mode"] == "caffe"
    for channels in (1, 4):
        layer = built(Vgg16(width_multiplier=0.01), channels).get_layer("normalize")
        assert (layer.mean, layer.scale, layer.reverse) == (pytest.approx(114.451, abs=1e-3), 1.0, False)


def test_imagenet_weights_require_full_width() -> None:
    message = "weights: ImageNet weights require width_multiplier 1.0. Received: 0.5"
    with pytest.raises(SpecError, match=re.escape(message)):
        Vgg16(width_multiplier=0.5, weights="imagenet")


def test_batch_norm_between_convolution_and_relu() -> None:
    with normalization(Normalization(epsilon=1e-9, momentum=0.7)):
        model = built(Vgg16(width_multiplier=0.01, batch_norm=True))
    names = [layer.name for layer in model.layers]
    assert names[2:8] == ["conv1_1", "conv1_1_bn", "relu1_1", "conv1_2", "conv1_2_bn", "relu1_2"]
    assert names[-8:] == ["fc6", "fc6_bn", "relu6", "drop6", "fc7", "fc7_bn", "relu7", "drop7"]
    norm = model.get_layer("fc6_bn")
    assert (norm.epsilon, norm.momentum) == (1e-9, 0.7)
    assert model.get_layer("conv3_2").use_bias  # as released, so that weights without BatchNorm fit
    assert model.get_layer("conv3_2").activation is keras.activations.linear


@pytest.mark.parametrize("form", ["same", "original"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_argmax_indices_of_pools(form: str, batch_norm: bool) -> None:
    """Maxima are the same with and without indices, and indices point to the maxima of the windows."""
    plain, indexed = (
        Vgg16(width_multiplier=0.01, form=form, batch_norm=batch_norm, indices=kept) for kept in (False, True)
    )
    image = keras.Input((None, None, 3), name="image")
    features = indexed(image)
    pools = [features.stage(f"pool{i}") for i in (1, 4)]
    outputs = [(pool.indices, pool.source) for pool in pools]
    model = keras.Model(image, [features.deepest.tensor, *outputs])
    other = built(plain)
    other.set_weights(model.get_weights())
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 77, 50, 3))
    deepest, *pairs = model(pixels)
    np.testing.assert_array_equal(deepest, other(pixels)[-1])
    for indices, source in pairs:
        source, indices = np.array(source)[0], np.array(indices)[0]
        rows, columns, channels = source.shape
        windows = np.pad(source, ((0, -rows % 2), (0, -columns % 2), (0, 0)), constant_values=-np.inf)
        maxima = windows.reshape(-(-rows // 2), 2, -(-columns // 2), 2, channels).max((1, 3))
        np.testing.assert_array_equal(source.reshape(-1)[indices], maxima)
    assert plain(image).stage("pool2").indices is None
    assert plain(image).stage("fc7").source is None


def test_layers_after_the_last_pool() -> None:
    assert [stage.name for stage in Vgg16(width_multiplier=0.01, fc=None)(keras.Input((None, None, 3))).stages][
        -1
    ] == "pool5"
    fc6 = built(Vgg16(width_multiplier=0.01, fc=FullyConnected(kernel_size=3, filters=1024))).get_layer("fc6")
    assert (fc6.kernel_size, fc6.filters) == ((3, 3), 10)


@pytest.mark.slow
def test_a_classifier_becomes_a_fully_convolutional_network() -> None:
    """At 224x224, the window of the center position is the whole image, so its scores equal those of the classifier."""
    classifier = keras.applications.VGG16(weights=None, classes=11, classifier_activation=None)
    labels = Labels(names=tuple(f"class {index}" for index in range(11)))
    model = Segmenter(backbone=Vgg16(), decoder=Fcn(strides=(32,))).build(labels)
    report = convert_vgg16(classifier, model)
    assert (len(report.filled), report.unused, report.source) == (16, (), "classifier 'vgg16'")
    image = np.random.default_rng(0).uniform(0, 255, (1, 224, 224, 3)).astype(np.float32)
    scores = keras.Model(model.input, model.get_layer("score_fr").output)(image)
    assert scores.shape == (1, 7, 7, 11)
    expected = classifier(image[..., ::-1] - np.array([104.00699, 116.66877, 122.67892], np.float32))
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(scores[:, 3, 3], expected, atol=1e-5)


def test_scores_of_other_classes_are_not_filled() -> None:
    """The classifier has small layers: shapes decide, not widths."""
    model = Segmenter(backbone=Vgg16(width_multiplier=1 / 64), decoder=Fcn(strides=(32,))).build(
        Labels(names=("a", "b"))
    )
    report = convert_vgg16(thin_classifier(classes=5), model)
    assert (report.initial, report.left_over) == (("score_fr",), ("predictions",))
    assert not np.any(model.get_layer("score_fr").kernel)


def thin_classifier(classes: int) -> keras.Model:
    """Returns a model with the layer names of `keras.applications.VGG16` and 1/64 of its filters."""
    x = image = keras.Input((224, 224, 3))
    for block, (count, filters) in enumerate(((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))):
        for conv in range(count):
            x = keras.layers.Conv2D(filters, 3, padding="same", name=f"block{block + 1}_conv{conv + 1}")(x)
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Flatten()(x)
    for name, units in (("fc1", 64), ("fc2", 64), ("predictions", classes)):
        x = keras.layers.Dense(units, name=name)(x)
    return keras.Model(image, x)

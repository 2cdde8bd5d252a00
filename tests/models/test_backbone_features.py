"""What a backbone is like is read off its layers, and costs nothing but time."""

import random
from typing import Any, Literal

import keras
import numpy as np
import pytest

from tests.models.conftest import LABELS
from tfseg.backbones import AlexNet, Features, GoogLeNet, MobileNetV2, Resnet, SmallCnn, Stage, Vgg16
from tfseg.backbones.features import Backbone
from tfseg.context import Context, Grid
from tfseg.models import Segmenter
from tfseg.models.backbone_features import backbone_features, extends_beyond_image, needs_crop, unknown_positions
from tfseg.models.coordinates import SizeDependent, UnknownLayer
from tfseg.models.decoders import Dilation, Fcn
from tfseg.models.heads import Zoom
from tfseg.pipeline import load
from tfseg.spec.declare import spec

DECODER = Fcn(strides=(16,))


@spec
class Own(Backbone):
    """One convolution, behind whatever a test puts there."""

    type: Literal["own"] = "own"
    before: Any = None
    """A layer; it has no hash that tells two of them apart."""

    def __call__(self, image: keras.KerasTensor) -> Features:
        x = image if self.before is None else self.before(image)
        return Features((Stage("conv", 4, keras.layers.Conv2D(4, 4, 4, name="conv")(x)),))


class Shuffled(keras.layers.Layer):
    """A layer whose places nobody knows."""

    def call(self, x):
        return x[:, ::-1]

    def compute_output_shape(self, input_shape):
        return input_shape


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        (Vgg16(form="original"), (True, True)),
        (Vgg16(form="original", fc=None), (True, True)),
        (Vgg16(), (False, False)),
        (Vgg16(output_stride=8), (False, False)),
        (Vgg16(form="deeplab", output_stride=8), (False, False)),
        (Vgg16(form="dilation", output_stride=8), (True, False)),
        (Vgg16(form="dilation", output_stride=8, fc=None), (True, True)),
        (AlexNet(form="original"), (True, True)),
        (AlexNet(), (False, False)),
        (AlexNet(output_stride=8), (False, False)),
        (GoogLeNet(form="original"), (True, True)),
        (GoogLeNet(form="original", average_pool=True), (True, True)),
        (GoogLeNet(), (False, False)),
        (Resnet(depth=50), (False, False)),
        (MobileNetV2(), (False, False)),
        (SmallCnn(), (False, False)),
        (Own(), (False, False)),
        (Own(before=keras.layers.ZeroPadding2D(100)), (True, True)),
        (Own(before=Shuffled()), (False, False)),
    ],
    ids=lambda each: getattr(each, "type", None),
)
def test_maps_that_reach_beyond_the_image(backbone: Backbone, expected: tuple[bool, bool]) -> None:
    """The dilation net pads by 186 pixels too, and its convolutions take them away again."""
    features = backbone_features(backbone, 3)
    assert (extends_beyond_image(features), needs_crop(features)) == expected


@pytest.mark.parametrize(
    ("backbone", "kind"),
    [
        (Vgg16(), type(None)),
        (Resnet(depth=50), type(None)),
        (Resnet(depth=50, padding="same"), SizeDependent),
        (MobileNetV2(), SizeDependent),
        (Own(), type(None)),
        (Own(before=Shuffled()), UnknownLayer),
    ],
    ids=lambda each: getattr(each, "type", None),
)
def test_sizes_that_move_places_and_layers_that_are_not_known_are_two_answers(backbone: Backbone, kind: type) -> None:
    assert type(unknown_positions(backbone_features(backbone, 3))) is kind


def problems(**parts: object) -> list[tuple[tuple[str | int, ...], str]]:
    return list(Segmenter(**parts).problems(Context(LABELS, 3)))


def test_what_a_decoder_says_of_both() -> None:
    told = "deconv crops at fixed places, but where small_cnn samples the image depends on the image's size. Set it to "
    assert problems(backbone=SmallCnn(), decoder=Fcn(strides=(16,), upsampling="deconv")) == [
        (("decoder", "upsampling"), f"{told}resize. Received: deconv")
    ]
    assert problems(backbone=SmallCnn(), decoder=Dilation(upsampling="deconv")) == [
        (("decoder", "upsampling"), f"{told}zoom. Received: deconv")
    ]
    model = with_backbone(Own(before=Shuffled(name="shuffled")), Fcn(strides=(4,), upsampling="deconv"))
    [(path, message)] = model.problems(Context(LABELS, 3))
    assert path == ("decoder", "upsampling")
    assert message == (
        "deconv crops at fixed places, and those of own are not known (The places of layer 'shuffled' are not known: "
        "Shuffled is no convolution, pool, padding, crop, resize or layer that works place by place.). Set it to "
        "resize. Received: deconv"
    )


def test_a_backbone_that_fails() -> None:
    def failing(image: keras.KerasTensor) -> keras.KerasTensor:
        raise KeyError(f"{image.shape[-1]} channels")

    model = with_backbone(Own(before=failing))
    assert list(model.problems(Context(LABELS, 3))) == [
        (
            ("backbone",),
            "own makes no features of an image of 3 channels (KeyError: '3 channels'). Correct it, or take another "
            "backbone",
        )
    ]
    assert model.crop_grid is None


def test_a_backbone_that_returns_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Own, "__call__", lambda self, image: image)
    [(path, message)] = with_backbone(Own(before=keras.layers.Identity())).problems(Context(LABELS, 3))
    assert path == ("backbone",)
    assert message.startswith("own must return `Features` of a tuple of one stage or more. Received: <KerasTensor")


def with_backbone(backbone: Backbone, decoder: Fcn = DECODER) -> Segmenter:
    """A model whose backbone no file could name without a plug-in."""
    model = Segmenter(backbone=SmallCnn(), decoder=decoder)
    object.__setattr__(model, "backbone", backbone)
    return model


def test_a_backbone_is_built_once_for_each_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal specs share what was built, unequal ones and other channels do not; no seed is drawn that others would."""
    builds = []
    call = SmallCnn.__call__
    monkeypatch.setattr(SmallCnn, "__call__", lambda self, image: builds.append(self) or call(self, image))
    random.seed(7)
    state = random.getstate()
    for width, channels in ((3, 5), (3, 5), (4, 5), (3, 6), (3, 5)):
        backbone_features(SmallCnn(filters=width), channels)
    assert [each.width for each in builds] == [3, 4, 3]
    assert random.getstate() == state


def test_only_a_question_builds_a_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a crop nobody asks which sizes fit."""
    monkeypatch.setattr(Segmenter, "crop_grid", property(lambda self: pytest.fail("asked")))
    assert load("shapes", ["data.crop=null"]).data.crop is None


def test_the_grid_of_crops() -> None:
    assert Segmenter(backbone=SmallCnn(), decoder=Fcn(strides=(16,))).crop_grid == Grid(16, 16, 0)
    assert Segmenter(backbone=SmallCnn(), decoder=Dilation()).crop_grid == Grid(16, 16, 1)  # places move
    fixed = Segmenter(backbone=Resnet(depth=50, output_stride=8), decoder=Dilation())
    assert isinstance(fixed._head, Zoom) and fixed.crop_grid == Grid(8, 8, None)


def test_to_look_at_a_network_changes_no_other() -> None:
    """Two networks of one seed have the same weights, whether a third was looked at between or not."""

    def weights(look: bool) -> list[np.ndarray]:
        keras.utils.set_random_seed(3)
        if look:
            backbone_features(SmallCnn(filters=11), 3)
        return (
            Segmenter(backbone=SmallCnn(filters=2), decoder=Fcn(strides=(16,), filters=4)).build(LABELS).get_weights()
        )

    for first, second in zip(weights(False), weights(True), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_stage_must_be_what_its_layers_make(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(stages: object) -> str:
        monkeypatch.setattr(Own, "__call__", lambda self, image: Features(stages(image)))
        [(path, message)] = with_backbone(Own(before=keras.layers.Identity())).problems(Context(LABELS, 3))
        assert path == ("backbone",)
        return message

    def conv(image: keras.KerasTensor, steps: object = 2) -> keras.KerasTensor:
        return keras.layers.Conv2D(4, 3, steps, "same")(image)

    assert told(lambda image: (Stage("a", 4, conv(image)),)) == (
        "own gives stage 'a' the stride 4, but its layers put 2 pixels between two rows of it"
    )
    assert told(lambda image: (Stage("a", 4, conv(image, (4, 2))),)) == (
        "own gives stage 'a' the stride 4, but its layers put 2 pixels between two columns of it"
    )
    assert told(lambda image: Stage("a", 2, conv(image))).startswith(
        "own must return `Features` of a tuple of one stage or more. Received: Features("
    )
    assert told(lambda image: (("a", 2, image),)).startswith("own must return stages as `Stage`. Received: ('a', 2, ")
    assert told(lambda image: (Stage("a", 2, None),)) == (
        "own must give stage 'a' [batch, height, width, channels]. Received: None"
    )
    assert told(lambda image: (Stage("a", 2.0, conv(image)),)) == (
        "own must give stage 'a' an integer stride of at least 1. Received: 2.0"
    )


def test_paddings_that_differ_between_rows_and_columns() -> None:
    backbone = Own(before=keras.layers.ZeroPadding2D(((1, 0), (0, 0))))
    [(path, message)] = with_backbone(backbone, Fcn(strides=(4,), upsampling="deconv")).problems(Context(LABELS, 3))
    assert path == ("decoder", "upsampling")
    assert message.startswith("deconv crops alike in both directions, and own pads rows otherwise than columns")

"""Properties of backbones are derived from their layers, without creating weights."""

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
    """A convolution that follows any layer."""

    type: Literal["own"] = "own"
    before: Any = None
    """Layer before the convolution; not hashable by value."""

    def __call__(self, image: keras.KerasTensor) -> Features:
        x = image if self.before is None else self.before(image)
        return Features((Stage("conv", 4, keras.layers.Conv2D(4, 4, 4, name="conv")(x)),))


class Shuffled(keras.layers.Layer):
    """A layer of unknown geometry."""

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
def test_feature_maps_that_extend_beyond_the_image(backbone: Backbone, expected: tuple[bool, bool]) -> None:
    """The dilation network pads by 186 pixels too, and its convolutions remove them again."""
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
def test_size_dependent_positions_and_unknown_layers_are_distinguished(backbone: Backbone, kind: type) -> None:
    assert type(unknown_positions(backbone_features(backbone, 3))) is kind


def problems(**parts: object) -> list[tuple[tuple[str | int, ...], str]]:
    return list(Segmenter(**parts).problems(Context(LABELS, 3)))


def test_problems_of_size_dependent_and_unknown_positions() -> None:
    message = (
        "deconv crops scores at a fixed offset, but the feature positions of small_cnn depend on the image size. "
        "Set upsampling to "
    )
    assert problems(backbone=SmallCnn(), decoder=Fcn(strides=(16,), upsampling="deconv")) == [
        (("decoder", "upsampling"), f"{message}resize. Received: deconv")
    ]
    assert problems(backbone=SmallCnn(), decoder=Dilation(upsampling="deconv")) == [
        (("decoder", "upsampling"), f"{message}zoom. Received: deconv")
    ]
    model = with_backbone(Own(before=Shuffled(name="shuffled")), Fcn(strides=(4,), upsampling="deconv"))
    [(path, message)] = model.problems(Context(LABELS, 3))
    assert path == ("decoder", "upsampling")
    assert message == (
        "deconv crops scores at a fixed offset, but the feature positions of own are unknown "
        "(The positions of layer 'shuffled' are unknown: "
        "Shuffled is not a convolution, pooling, padding, cropping, resizing or pointwise layer.). "
        "Set upsampling to resize. "
        "Received: deconv"
    )


def test_a_backbone_that_raises_is_reported() -> None:
    def failing(image: keras.KerasTensor) -> keras.KerasTensor:
        raise KeyError(f"{image.shape[-1]} channels")

    model = with_backbone(Own(before=failing))
    assert list(model.problems(Context(LABELS, 3))) == [
        (
            ("backbone",),
            "own failed on an image of 3 channels (KeyError: '3 channels'). Correct it, or use another backbone",
        )
    ]
    assert model.crop_grid is None


def test_a_backbone_must_return_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Own, "__call__", lambda self, image: image)
    [(path, message)] = with_backbone(Own(before=keras.layers.Identity())).problems(Context(LABELS, 3))
    assert path == ("backbone",)
    assert message.startswith("own must return `Features` with a tuple of one or more stages. Received: <KerasTensor")


def with_backbone(backbone: Backbone, decoder: Fcn = DECODER) -> Segmenter:
    """Returns a model with a custom backbone, without a plugin."""
    model = Segmenter(backbone=SmallCnn(), decoder=decoder)
    object.__setattr__(model, "backbone", backbone)
    return model


def test_a_backbone_is_built_once_per_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal specs share the result; others and other channel counts do not. No random seed is drawn."""
    builds = []
    call = SmallCnn.__call__
    monkeypatch.setattr(SmallCnn, "__call__", lambda self, image: builds.append(self) or call(self, image))
    random.seed(7)
    state = random.getstate()
    for filters, channels in ((3, 5), (3, 5), (4, 5), (3, 6), (3, 5)):
        backbone_features(SmallCnn(filters=filters), channels)
    assert [each.filters for each in builds] == [3, 4, 3]
    assert random.getstate() == state


def test_crop_grid_is_not_computed_without_a_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `data.crop`, loading a pipeline does not build the backbone."""
    monkeypatch.setattr(Segmenter, "crop_grid", property(lambda self: pytest.fail("computed")))
    assert load("shapes", ["data.crop=null"]).data.crop is None


def test_crop_grids() -> None:
    assert Segmenter(backbone=SmallCnn(), decoder=Fcn(strides=(16,))).crop_grid == Grid(16, 16, 0)
    drifting = Segmenter(backbone=SmallCnn(), decoder=Dilation())  # its positions depend on the image size
    assert drifting.crop_grid == Grid(16, 16, 1)
    fixed = Segmenter(backbone=Resnet(depth=50, output_stride=8), decoder=Dilation())
    assert isinstance(fixed._head, Zoom) and fixed.crop_grid == Grid(8, 8, None)


def test_inspecting_a_network_does_not_change_others() -> None:
    """Networks built from one seed have the same weights, even if another backbone is inspected in between."""

    def weights(inspect: bool) -> list[np.ndarray]:
        keras.utils.set_random_seed(3)
        if inspect:
            backbone_features(SmallCnn(filters=11), 3)
        return (
            Segmenter(backbone=SmallCnn(filters=2), decoder=Fcn(strides=(16,), filters=4)).build(LABELS).get_weights()
        )

    for first, second in zip(weights(False), weights(True), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_stage_must_agree_with_its_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    def problem(stages: object) -> str:
        monkeypatch.setattr(Own, "__call__", lambda self, image: Features(stages(image)))
        [(path, message)] = with_backbone(Own(before=keras.layers.Identity())).problems(Context(LABELS, 3))
        assert path == ("backbone",)
        return message

    def conv(image: keras.KerasTensor, strides: object = 2) -> keras.KerasTensor:
        return keras.layers.Conv2D(4, 3, strides, "same")(image)

    assert problem(lambda image: (Stage("a", 4, conv(image)),)) == (
        "own declares stage 'a' with stride 4, but its height has stride 2"
    )
    assert problem(lambda image: (Stage("a", 4, conv(image, (4, 2))),)) == (
        "own declares stage 'a' with stride 4, but its width has stride 2"
    )
    assert problem(lambda image: Stage("a", 2, conv(image))).startswith(
        "own must return `Features` with a tuple of one or more stages. Received: Features("
    )
    assert problem(lambda image: (("a", 2, image),)).startswith(
        "own must return stages as `Stage`. Received: ('a', 2, "
    )
    assert problem(lambda image: (Stage("a", 2, None),)) == (
        "own must give stage 'a' a tensor [batch, height, width, channels]. Received: None"
    )
    assert problem(lambda image: (Stage("a", 2.0, conv(image)),)) == (
        "own must give stage 'a' an integer stride of at least 1. Received: 2.0"
    )


def test_padding_that_differs_between_axes() -> None:
    backbone = Own(before=keras.layers.ZeroPadding2D(((1, 0), (0, 0))))
    [(path, message)] = with_backbone(backbone, Fcn(strides=(4,), upsampling="deconv")).problems(Context(LABELS, 3))
    assert path == ("decoder", "upsampling")
    assert message.startswith("deconv needs one crop offset for both axes, but own pads height and width differently")

"""Coordinates and receptive fields: read off a graph, and what the graph really does."""

import re
from fractions import Fraction

import keras
import numpy as np
import pytest
from keras import layers as kl

from tfseg import layers as tl
from tfseg.models.coordinates import NoCoordinates, coordinate_map, offset, receptive_field
from tfseg.ops.geometry import CoordinateMap, ReceptiveField

NETS = {
    "conv": [kl.Conv2D(1, 3)],
    "dilated": [kl.Conv2D(1, 3, dilation_rate=2, padding="same")],
    "even": [kl.Conv2D(1, 4, padding="same")],
    "strided": [kl.Conv2D(1, 5, 2)],
    "pool": [kl.MaxPooling2D(2, 2, "same"), kl.AveragePooling2D(2)],
    "holed": [kl.MaxPooling2D(2, 2), tl.AtrousMaxPooling2D(2, 3), tl.AtrousMaxPooling2D(3, 2, padding=0)],
    "mirrored": [tl.MirrorPadding2D(9, 4), kl.Conv2D(1, 3, 2)],
    "caffe": [tl.CaffeMaxPooling2D(3, 2, padding=1), tl.CaffeAveragePooling2D(3, 2)],
    "padded": [kl.ZeroPadding2D(((3, 1), (3, 1))), kl.DepthwiseConv2D(3, 2), kl.SeparableConv2D(1, 3)],
    "transposed": [kl.Conv2D(1, 2, 2), kl.Conv2DTranspose(1, 4, 2)],
    "transposed same": [kl.Conv2D(1, 4, 4), tl.BilinearConv2DTranspose(1, 4, 2, "same")],
    "transposed odd": [kl.Conv2D(1, 2, 2), kl.Conv2DTranspose(1, 5, 2)],
    "in place": [kl.BatchNormalization(), kl.ReLU(), kl.Dropout(0.5), tl.FixedScale(2.0), tl.AtrousConv2D(1, 3)],
}
LINEAR = [name for name in NETS if name not in ("caffe", "holed", "in place")]


def applied(name: str) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    x = image = keras.Input((None, None, 1))
    for layer in NETS[name]:
        x = type(layer).from_config(layer.get_config())(x)
    return image, x


def influences(name: str) -> np.ndarray:
    """What each pixel of a row of the image does to one place in the middle of the output, in absolute value."""
    image, x = applied(name)
    model = keras.Model(image, x)
    for variable in model.weights:
        variable.assign(np.ones(variable.shape))
    impulses = np.repeat(np.eye(60, dtype=np.float32)[:, None, :, None], 60, axis=1)
    responses = np.array(model(impulses)) - np.array(model(np.zeros_like(impulses)))
    middle = responses.shape[2] // 2
    return np.abs(responses[:, responses.shape[1] // 2, middle, 0]), middle


@pytest.mark.parametrize("name", NETS)
def test_receptive_field_is_what_an_impulse_reaches(name: str) -> None:
    seen, _ = influences(name)
    places = np.flatnonzero(seen > 1e-6)
    size = receptive_field(applied(name)[1], axis=1).size
    reached = places[-1] - places[0] + 1
    # Transposed convolutions with overlap see one input more or less from place to place; the field is the most.
    assert reached <= size
    assert reached >= size - (2 if "transposed" in name else 0)


@pytest.mark.parametrize("name", LINEAR)
def test_the_map_points_at_the_middle_of_what_an_impulse_reaches(name: str) -> None:
    seen, place = influences(name)
    found = coordinate_map(applied(name)[1], axis=1)
    center = np.average(np.arange(60), weights=seen)
    tolerance = 1.01 if "transposed" in name else 1e-3  # there the middle wanders about the map from place to place
    assert abs((place - float(found.offset)) / float(found.scale) - center) < tolerance


def test_axes_are_told_apart() -> None:
    x = kl.Conv2D(1, (1, 3), (1, 2))(keras.Input((None, None, 1)))
    assert coordinate_map(x, 0) == CoordinateMap()
    assert coordinate_map(x, 1) == CoordinateMap(Fraction(1, 2), Fraction(-1, 2))
    assert (receptive_field(x, 0).size, receptive_field(x, 1).size) == (1, 3)


def test_resizing_puts_places_onto_those_of_the_reference() -> None:
    image = keras.Input((None, None, 1))
    deep = kl.MaxPooling2D(4, 4)(image)
    resized = tl.ResizeLike()([deep, image])
    assert coordinate_map(resized) == CoordinateMap()
    assert (receptive_field(resized).size, receptive_field(resized).jump) == (8, 1)
    zoomed = tl.ZoomLike(4)([deep, image])
    assert coordinate_map(zoomed) == CoordinateMap()
    assert (receptive_field(zoomed).size, receptive_field(zoomed).jump) == (8, 1)


def test_a_resized_image_counts_its_own_pixels() -> None:
    x = tl.ResizeBy(0.75)(keras.Input((None, None, 1)))
    assert coordinate_map(x) == CoordinateMap(Fraction(3, 4))
    assert (receptive_field(x).size, receptive_field(x).jump) == (1, 1)


def test_crops_shift() -> None:
    image = keras.Input((None, None, 1))
    padded = kl.ZeroPadding2D(7)(image)
    assert offset(padded, image) == 7
    assert offset(image, padded) == -7
    assert offset(tl.CropLike(7)([padded, image]), image) == 0


def test_a_deep_graph_is_walked() -> None:
    x = image = keras.Input((None, None, 1))
    for _ in range(1500):
        x = kl.ReLU()(x)
    assert coordinate_map(x) == coordinate_map(image)


def refusal(tensor: keras.KerasTensor) -> str:
    with pytest.raises(NoCoordinates) as error:
        coordinate_map(tensor)
    return str(error.value)


def test_places_that_follow_the_size_of_the_image() -> None:
    x = kl.Conv2D(1, 3, 2, "same", name="down")(keras.Input((None, None, 1)))
    assert refusal(x) == (
        "Where layer 'down' samples its input depends on the image's size: padding='same' with stride 2 and a window "
        "of 3 pads before the first pixel at some sizes only."
    )
    assert receptive_field(x).size == 3


def test_layers_without_places() -> None:
    x = kl.Flatten(name="flat")(keras.Input((4, 4, 1)))
    assert refusal(x) == (
        "The places of layer 'flat' are not known: Flatten is no convolution, pool, padding, crop, resize or layer "
        "that works place by place."
    )
    with pytest.raises(NoCoordinates):
        receptive_field(x)


def test_inputs_on_two_grids() -> None:
    image = keras.Input((None, None, 1))
    x = kl.Add(name="sum")([kl.Conv2D(1, 3, padding="same")(image), kl.Conv2D(1, 2, padding="same")(image)])
    half = "CoordinateMap(scale=Fraction(1, 1), offset=Fraction(-1, 2))"
    whole = "CoordinateMap(scale=Fraction(1, 1), offset=Fraction(0, 1))"
    assert refusal(x) == f"The inputs of layer 'sum' do not lie on one grid. Received: [{whole}, {half}]"


def test_a_crop_has_one_offset() -> None:
    image = keras.Input((None, None, 1))
    padded = kl.ZeroPadding2D((2, 3))(image)
    with pytest.raises(ValueError) as error:
        offset(padded, image)
    assert str(error.value) == "A crop has one offset for both directions. Received: height=2, width=3"


def test_composite_layers_keep_the_grid_and_say_what_they_see() -> None:
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, 2, padding="valid")(image)
    rates = {
        "v2": (tl.ParallelAtrousClassifier(4, (2, 6), filters=4), 13),
        "context": (tl.DilatedContext(4), 67),
        "v3": (tl.AtrousSpatialPyramidPooling(4, (3, 5), pooling=False), 11),
    }
    for layer, field in rates.values():
        y = layer(x)
        assert coordinate_map(y) == coordinate_map(x)
        assert receptive_field(y) == ReceptiveField(3 + 2 * (field - 1), 2)
    pooled = tl.AtrousSpatialPyramidPooling(4, (3, 5), name="aspp")(x)
    assert coordinate_map(pooled) == coordinate_map(x)
    message = "Layer 'aspp' sees the whole image: AtrousSpatialPyramidPooling takes its mean."
    with pytest.raises(NoCoordinates, match=f"^{re.escape(message)}$"):
        receptive_field(pooled)


def test_caffes_padding_of_an_atrous_convolution() -> None:
    image = keras.Input((None, None, 3))
    padded = keras.layers.ZeroPadding2D(100)(image)
    twice = [tl.AtrousConv2D(4, 7, 2, padding=100)(image), keras.layers.Conv2D(4, 7, 2)(padded)]
    assert coordinate_map(twice[0]) == coordinate_map(twice[1])
    assert receptive_field(twice[0]) == receptive_field(twice[1])
    separable = tl.AtrousSeparableConv2D(4, 3, dilation_rate=2, padding=(2, 5))(image)
    assert [coordinate_map(separable, axis).offset for axis in (0, 1)] == [0, 3]


def test_several_scales_lie_on_the_grid_of_scale_1() -> None:
    image = keras.Input((None, None, 3))
    scores = keras.layers.Conv2D(4, 5, 4)(image)
    half = tl.ResizeLike(align_corners=True)([keras.layers.Conv2D(4, 5, 4)(tl.ResizeBy(0.5)(image)), scores])
    fused = tl.AttentionToScale(2, 3)([scores, half, scores, half])
    assert coordinate_map(fused) == coordinate_map(scores)
    assert receptive_field(fused) == ReceptiveField(5 + 4 + 2 * 4, 4)  # between two places of what was resized

"""Coordinate maps and receptive fields, compared with the impulse responses of the layers."""

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


def influences(name: str) -> tuple[np.ndarray, int]:
    """Returns the absolute effect of each pixel of a row on the middle position of the output, and that position."""
    image, x = applied(name)
    model = keras.Model(image, x)
    for variable in model.weights:
        variable.assign(np.ones(variable.shape))
    impulses = np.repeat(np.eye(60, dtype=np.float32)[:, None, :, None], 60, axis=1)
    responses = np.array(model(impulses)) - np.array(model(np.zeros_like(impulses)))
    middle = responses.shape[2] // 2
    return np.abs(responses[:, responses.shape[1] // 2, middle, 0]), middle


@pytest.mark.parametrize("name", NETS)
def test_receptive_field_matches_the_impulse_response(name: str) -> None:
    effects, _ = influences(name)
    pixels = np.flatnonzero(effects > 1e-6)
    size = receptive_field(applied(name)[1], axis=1).size
    reached = pixels[-1] - pixels[0] + 1
    # The field of an overlapping transposed convolution varies by one input between positions; the largest counts.
    assert reached <= size
    assert reached >= size - (2 if "transposed" in name else 0)


@pytest.mark.parametrize("name", LINEAR)
def test_coordinate_map_gives_the_center_of_the_impulse_response(name: str) -> None:
    effects, position = influences(name)
    found = coordinate_map(applied(name)[1], axis=1)
    center = np.average(np.arange(60), weights=effects)
    tolerance = 1.01 if "transposed" in name else 1e-3  # its center varies between positions
    assert abs((position - float(found.offset)) / float(found.scale) - center) < tolerance


def test_axes_are_independent() -> None:
    x = kl.Conv2D(1, (1, 3), (1, 2))(keras.Input((None, None, 1)))
    assert coordinate_map(x, 0) == CoordinateMap()
    assert coordinate_map(x, 1) == CoordinateMap(Fraction(1, 2), Fraction(-1, 2))
    assert (receptive_field(x, 0).size, receptive_field(x, 1).size) == (1, 3)


def test_resizing_aligns_with_the_reference() -> None:
    image = keras.Input((None, None, 1))
    deep = kl.MaxPooling2D(4, 4)(image)
    resized = tl.ResizeLike()([deep, image])
    assert coordinate_map(resized) == CoordinateMap()
    assert (receptive_field(resized).size, receptive_field(resized).jump) == (8, 1)
    zoomed = tl.ZoomLike(4)([deep, image])
    assert coordinate_map(zoomed) == CoordinateMap()
    assert (receptive_field(zoomed).size, receptive_field(zoomed).jump) == (8, 1)


def test_receptive_field_of_a_resized_image_is_in_its_own_pixels() -> None:
    x = tl.ResizeBy(0.75)(keras.Input((None, None, 1)))
    assert coordinate_map(x) == CoordinateMap(Fraction(3, 4))
    assert (receptive_field(x).size, receptive_field(x).jump) == (1, 1)


def test_crop_offsets() -> None:
    image = keras.Input((None, None, 1))
    padded = kl.ZeroPadding2D(7)(image)
    assert offset(padded, image) == 7
    assert offset(image, padded) == -7
    assert offset(tl.CropLike(7)([padded, image]), image) == 0


def test_deep_graphs_do_not_exceed_the_recursion_limit() -> None:
    x = image = keras.Input((None, None, 1))
    for _ in range(1500):
        x = kl.ReLU()(x)
    assert coordinate_map(x) == coordinate_map(image)


def error_message(tensor: keras.KerasTensor) -> str:
    with pytest.raises(NoCoordinates) as error:
        coordinate_map(tensor)
    return str(error.value)


def test_positions_that_depend_on_the_image_size() -> None:
    x = kl.Conv2D(1, 3, 2, "same", name="down")(keras.Input((None, None, 1)))
    assert error_message(x) == (
        "The sampling positions of layer 'down' depend on the image size: padding='same' with stride 2 and a window "
        "of 3 pads before the first pixel at some sizes only."
    )
    assert receptive_field(x).size == 3


def test_layers_of_unknown_geometry() -> None:
    x = kl.Flatten(name="flat")(keras.Input((4, 4, 1)))
    assert error_message(x) == (
        "The positions of layer 'flat' are unknown: Flatten is not a convolution, pooling, padding, cropping, resizing "
        "or pointwise layer."
    )
    with pytest.raises(NoCoordinates):
        receptive_field(x)


def test_inputs_that_are_not_aligned() -> None:
    image = keras.Input((None, None, 1))
    x = kl.Add(name="sum")([kl.Conv2D(1, 3, padding="same")(image), kl.Conv2D(1, 2, padding="same")(image)])
    half = "CoordinateMap(scale=Fraction(1, 1), offset=Fraction(-1, 2))"
    whole = "CoordinateMap(scale=Fraction(1, 1), offset=Fraction(0, 1))"
    assert error_message(x) == f"The inputs of layer 'sum' are not aligned. Received: [{whole}, {half}]"


def test_crop_offsets_must_be_equal_for_both_axes() -> None:
    image = keras.Input((None, None, 1))
    padded = kl.ZeroPadding2D((2, 3))(image)
    with pytest.raises(ValueError) as error:
        offset(padded, image)
    assert str(error.value) == "The crop offset must be the same for height and width. Received: height=2, width=3"


def test_composite_layers_keep_positions_and_have_a_receptive_field() -> None:
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
    message = "The receptive field of layer 'aspp' is unbounded: AtrousSpatialPyramidPooling averages all pixels."
    with pytest.raises(NoCoordinates, match=f"^{re.escape(message)}$"):
        receptive_field(pooled)


def test_explicit_padding_of_atrous_convolutions() -> None:
    image = keras.Input((None, None, 3))
    padded = keras.layers.ZeroPadding2D(100)(image)
    convolved = [tl.AtrousConv2D(4, 7, 2, padding=100)(image), keras.layers.Conv2D(4, 7, 2)(padded)]
    assert coordinate_map(convolved[0]) == coordinate_map(convolved[1])
    assert receptive_field(convolved[0]) == receptive_field(convolved[1])
    separable = tl.AtrousSeparableConv2D(4, 3, dilation_rate=2, padding=(2, 5))(image)
    assert [coordinate_map(separable, axis).offset for axis in (0, 1)] == [0, 3]


def test_several_scales_are_aligned_with_scale_1() -> None:
    image = keras.Input((None, None, 3))
    scores = keras.layers.Conv2D(4, 5, 4)(image)
    half = tl.ResizeLike(align_corners=True)([keras.layers.Conv2D(4, 5, 4)(tl.ResizeBy(0.5)(image)), scores])
    fused = tl.AttentionToScale(2, 3)([scores, half, scores, half])
    assert coordinate_map(fused) == coordinate_map(scores)
    assert receptive_field(fused) == ReceptiveField(
        5 + 4 + 2 * 4, 4
    )  # interpolates between two positions of the resized scores

"""Exact arithmetic of sizes and coordinates, compared with the released networks and a transcription of Caffe."""

import math
import re
from fractions import Fraction

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg.ops.geometry import (
    CoordinateMap,
    ReceptiveField,
    caffe_pool_size,
    conv_map,
    conv_size,
    crop_offset,
    deconv_map,
    deconv_size,
    dilate,
)

VGG16 = [*"ccpccpcccpcccpcccp"]
IMAGE = CoordinateMap()
POOL, UP2 = conv_map(2, 2), deconv_map(4, 2)


def vgg16(pools: int) -> CoordinateMap:
    """Returns the map of the released VGG16 up to a pooling layer, with padding 100 at the first convolution."""
    result = IMAGE
    for index, kind in enumerate(VGG16):
        result = result.then(POOL if kind == "p" else conv_map(3, padding=100 if index == 0 else 1))
        pools -= kind == "p"
        if not pools:
            return result
    raise AssertionError


SCORE = vgg16(5).then(conv_map(7)).then(conv_map(1)).then(conv_map(1))


def skip_offset(skip: CoordinateMap, deep: CoordinateMap) -> int:
    """Returns the crop offset of a skip connection, whose scores are cropped to the upsampled deep scores."""
    return crop_offset(skip, deep)


def test_crop_offsets_of_fcn_vgg16() -> None:
    assert crop_offset(SCORE.then(deconv_map(64, 32)), IMAGE) == 19
    up2 = SCORE.then(UP2)
    assert skip_offset(vgg16(4), up2) == 5
    assert crop_offset(up2.then(deconv_map(32, 16)), IMAGE) == 27
    up4 = up2.then(UP2)
    assert skip_offset(vgg16(3), up4) == 9
    assert crop_offset(up4.then(deconv_map(16, 8)), IMAGE) == 31


ALEXNET = [(11, 4, 100), (3, 2, 0), (5, 1, 2), (3, 2, 0), (3, 1, 1), (3, 1, 1), (3, 1, 1), (3, 2, 0), (6, 1, 0)]


def test_crop_offset_of_fcn_alexnet_requires_an_odd_kernel() -> None:
    scores = IMAGE
    for kernel, stride, padding in ALEXNET:
        scores = scores.then(conv_map(kernel, stride, padding))
    assert crop_offset(scores.then(deconv_map(63, 32)), IMAGE) == 18
    with pytest.raises(ValueError) as error:
        crop_offset(scores.then(deconv_map(64, 32)), IMAGE)
    assert str(error.value) == (
        "To crop one tensor to the other, their offsets must differ by an integer; change a kernel size by one. "
        "Received: deep.offset - reference.offset=37/2"
    )


def test_crop_offset_rejects_different_scales() -> None:
    with pytest.raises(ValueError) as error:
        crop_offset(SCORE, IMAGE)
    assert str(error.value) == (
        "Expected two tensors of the same scale to crop one to the other; resize or upsample one of them first. "
        "Received: deep.scale=1/32, reference.scale=1"
    )


def test_coordinate_maps_map_window_centers() -> None:
    """With kernel 5, stride 2 and padding 1, output 3 covers 5 … 9 with center 7; with dilation 2, 5 … 13 and 9."""
    for dilation, center in ((1, 7), (2, 9)):
        window = conv_map(5, 2, 1, dilation)
        assert window.scale * center + window.offset == 3
    assert deconv_map(4, 2).then(conv_map(4, 2)) == CoordinateMap(Fraction(1), Fraction(0))


@pytest.mark.parametrize(
    ("size", "chain"),
    [(500, [698, 349, 175, 88, 44, 22, 16, 34, 70, 568]), (375, [573, 287, 144, 72, 36, 18, 12, 26, 54, 440])],
)
def test_sizes_of_fcn8s(size: int, chain: list[int]) -> None:
    sizes = [conv_size(size, 3, padding=100)]
    for _ in range(5):
        sizes.append(caffe_pool_size(sizes[-1], 2, 2))
    sizes.append(conv_size(sizes[-1], 7))
    for kernel, stride in ((4, 2), (4, 2), (16, 8)):
        sizes.append(deconv_size(sizes[-1], kernel, stride))
    assert sizes == chain


def test_sizes_of_fcn32s_alexnet() -> None:
    assert deconv_size(16, 64, 32) == 544
    sizes = [conv_size(500, 11, 4, 100)]
    for _ in range(3):
        sizes.append(caffe_pool_size(sizes[-1], 3, 2))
    assert [*sizes, conv_size(sizes[-1], 6)] == [173, 86, 43, 21, 16]


def test_receptive_fields_of_fcn() -> None:
    """Table 1 of the FCN paper: 404 for VGG16, 355 for AlexNet."""
    field = ReceptiveField()
    for kind in VGG16:
        field = field.then(2, 2) if kind == "p" else field.then(3)
    assert field.then(7) == ReceptiveField(404, 32)
    field = ReceptiveField()
    for kernel, stride, _ in ALEXNET:
        field = field.then(kernel, stride)
    assert field == ReceptiveField(355, 32)


def test_receptive_fields_of_the_context_module() -> None:
    """Yu and Koltun, table 1: 3, 5, 9, 17, 33, 65, 67."""
    field, sizes = ReceptiveField(), []
    for dilation in (1, 1, 2, 4, 8, 16, 1):
        field = field.then(3, dilation=dilation)
        sizes.append(field.size)
    assert sizes == [3, 5, 9, 17, 33, 65, 67]


def caffe(size: int, kernel: int, stride: int, padding: int) -> int:
    """Transcription of Caffe's `PoolingLayer::Reshape`."""
    pooled = math.ceil((size + 2 * padding - kernel) / stride) + 1
    if padding:
        if (pooled - 1) * stride >= size + padding:
            pooled -= 1
        assert (pooled - 1) * stride < size + padding
    return pooled


@given(st.integers(1, 600), st.integers(1, 9), st.data())
def test_pool_sizes_match_caffe(size: int, kernel: int, data: st.DataObject) -> None:
    stride, padding = data.draw(st.integers(1, kernel)), data.draw(st.integers(0, kernel - 1))
    assert caffe_pool_size(size, kernel, stride, padding) == caffe(size, kernel, stride, padding)


@settings(deadline=None)
@given(st.integers(20, 60), st.integers(1, 5), st.integers(1, 3), st.integers(0, 3))
def test_conv_sizes_match_keras(size: int, kernel: int, stride: int, padding: int) -> None:
    layer = keras.layers.Conv2D(1, kernel, stride)
    assert layer.compute_output_shape((1, size + 2 * padding, 60, 1))[1] == conv_size(size, kernel, stride, padding)
    dilated = keras.layers.Conv2D(1, kernel, dilation_rate=stride)
    assert dilated.compute_output_shape((1, size, 60, 1))[1] == conv_size(size, kernel, dilation=stride)
    up = keras.layers.Conv2DTranspose(1, kernel + stride, stride)
    assert up.compute_output_shape((1, size, 60, 1))[1] == deconv_size(size, kernel + stride, stride)


@pytest.mark.parametrize(
    ("output_stride", "plan"),
    [
        (32, ((2, 1), (2, 1), (1, 1), (2, 1), (2, 1), (1, 1), (2, 1))),
        (16, ((2, 1), (2, 1), (1, 1), (2, 1), (2, 1), (1, 1), (1, 1))),
        (8, ((2, 1), (2, 1), (1, 1), (2, 1), (1, 1), (1, 2), (1, 2))),
        (4, ((2, 1), (2, 1), (1, 1), (1, 1), (1, 2), (1, 4), (1, 4))),
    ],
)
def test_strides_are_replaced_by_dilation_rates(output_stride: int, plan: tuple[tuple[int, int], ...]) -> None:
    assert dilate((2, 2, 1, 2, 2, 1, 2), output_stride) == plan


def test_dilated_network_matches_strided_network() -> None:
    """Their values agree at the positions of the strided network."""
    keras.utils.set_random_seed(4)
    kernels = [keras.random.normal((3, 3, 2, 2)) * 0.3 for _ in range(4)]
    image = keras.random.normal((1, 65, 65, 2))

    def net(output_stride: int) -> keras.KerasTensor:
        x = image
        for kernel, (stride, dilation) in zip(kernels, dilate((2, 2, 2, 2), output_stride), strict=True):
            x = keras.ops.conv(x, kernel, stride, "same", dilation_rate=dilation)
        return x

    strided, dilated = net(16), net(4)
    assert tuple(dilated.shape) == (1, 17, 17, 2)
    assert keras.ops.max(keras.ops.abs(dilated[:, ::4, ::4] - strided)) < 1e-5


def test_unreachable_output_stride_is_rejected() -> None:
    text = "Expected `output_stride` to be one of 1, 2, 6, 12. Received: output_stride=4"
    with pytest.raises(ValueError, match=re.escape(text)):
        dilate((2, 3, 1, 2), 4)

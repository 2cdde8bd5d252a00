"""Sizes, coordinates and receptive fields of convolutional nets, in exact numbers.

One spatial axis at a time. Every name here is about plain integers and fractions; nothing touches a tensor.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any


def conv_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """The length of a convolution's output: `floor((n + 2p - d (k - 1) - 1) / s) + 1`.

    >>> conv_size(500, kernel=3, padding=100)
    698
    """
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def deconv_size(size: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
    """The length of a transposed convolution's output: `(n - 1) s + k - 2p`.

    >>> deconv_size(16, kernel=64, stride=32)
    544
    """
    return (size - 1) * stride + kernel - 2 * padding


def caffe_pool_size(size: int, kernel: int, stride: int, padding: int = 0) -> int:
    """The length of a Caffe pooling's output: the size rounds up, and no window may start past the padded begin.

    `ceil((n + 2p - k) / s) + 1`, less one where `p > 0` and the last window would start at or after `n + p`.

    >>> caffe_pool_size(349, kernel=2, stride=2)
    175
    >>> caffe_pool_size(5, kernel=2, stride=2, padding=1)
    3
    """
    pooled = -((size + 2 * padding - kernel) // -stride) + 1
    if padding and (pooled - 1) * stride >= size + padding:
        pooled -= 1
    return pooled


def interp_size(length: Any, scale: Fraction) -> Any:
    """The length that Caffe's `Interp` gives: shrunk by the scale's denominator, then zoomed by its numerator.

    A map of `n` places becomes `(n - 1) // q * p + 1` for the scale `p / q`. Works on integers and integer tensors.

    >>> [interp_size(321, scale) for scale in (Fraction(3, 4), Fraction(1, 2), Fraction(3, 2))]
    [241, 161, 481]

    Reference:
        `interp_layer.cpp` of DeepLab's Caffe.
    """
    return (length - 1) // scale.denominator * scale.numerator + 1


@dataclass(frozen=True)
class CoordinateMap:
    """Where a position of one tensor lies in another: `x_out = scale * x_in + offset`.

    Positions are centers of elements, counted from 0. The identity is `CoordinateMap()`.

    >>> conv_map(kernel=3, padding=100).then(conv_map(kernel=2, stride=2))
    CoordinateMap(scale=Fraction(1, 2), offset=Fraction(197, 4))

    Reference:
        Shelhamer, Long, Darrell, "Fully Convolutional Networks for Semantic Segmentation", PAMI 2017, and the
        `coord_map.py` of the released Caffe.
    """

    scale: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)

    def then(self, other: "CoordinateMap") -> "CoordinateMap":
        """The map of a layer with map `other` after the layers with this one."""
        return CoordinateMap(other.scale * self.scale, other.scale * self.offset + other.offset)


def conv_map(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> CoordinateMap:
    """The map of a convolution or a pooling: `a = 1 / s`, `b = (p - d (k - 1) / 2) / s`."""
    return CoordinateMap(Fraction(1, stride), (padding - Fraction(dilation * (kernel - 1), 2)) / stride)


def deconv_map(kernel: int, stride: int = 1, padding: int = 0) -> CoordinateMap:
    """The map of a transposed convolution: `a = s`, `b = (k - 1) / 2 - p`."""
    return CoordinateMap(Fraction(stride), Fraction(kernel - 1, 2) - padding)


def crop_offset(deep: CoordinateMap, reference: CoordinateMap) -> int:
    """How many elements to cut off the begin of the tensor `deep` so that it lies on the tensor `reference`.

    Both maps start at the same tensor, usually the image.

    >>> image = CoordinateMap()
    >>> crop_offset(conv_map(kernel=3, padding=5).then(deconv_map(kernel=1)), image)
    4

    Raises:
        ValueError: the two tensors have different scales, or lie a fraction of an element apart.
    """
    if deep.scale != reference.scale:
        raise ValueError(
            "Expected two tensors of one scale, to crop one to the other; resize or upsample one of them first. "
            f"Received: deep.scale={deep.scale}, reference.scale={reference.scale}"
        )
    offset = deep.offset - reference.offset
    if offset.denominator != 1:
        raise ValueError(
            "Expected two tensors whose elements coincide, to crop one to the other; change a kernel size or a "
            f"padding by one. Received: deep.offset - reference.offset={offset}"
        )
    return int(offset)


@dataclass(frozen=True)
class ReceptiveField:
    """How many elements of the input one element sees (`size`), and how far apart two neighbors look (`jump`).

    >>> ReceptiveField().then(kernel=3).then(kernel=2, stride=2).then(kernel=3)
    ReceptiveField(size=8, jump=2)
    """

    size: float = 1
    jump: float = 1

    def then(self, kernel: int, stride: int = 1, dilation: int = 1) -> "ReceptiveField":
        """The field after one more convolution or pooling."""
        return ReceptiveField(self.size + dilation * (kernel - 1) * self.jump, self.jump * stride)


def dilate(strides: Iterable[int], output_stride: int) -> tuple[tuple[int, int], ...]:
    """Trades strides for dilation: `(stride, dilation)` of each block, so that the last one is at `output_stride`.

    Once the product of strides has reached `output_stride`, a block that had a stride keeps its input's size, and the
    blocks *after* it are dilated by that stride. The block itself still sees undilated input, so it keeps the dilation
    that held before it: this is what makes the dilated net compute the same numbers as the strided one, at more places.

    >>> dilate((2, 2, 2, 2, 2), output_stride=8)
    ((2, 1), (2, 1), (2, 1), (1, 1), (1, 2))

    Args:
        strides: the stride of every block, first to last.
        output_stride: the product of strides to stop at.

    Raises:
        ValueError: no product of leading strides equals `output_stride`.

    Reference:
        Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs", ICLR 2015,
        section 3.1 (the hole algorithm).
    """
    strides = tuple(strides)
    current, rate, plan = 1, 1, []
    for stride in strides:
        if current == output_stride:
            plan.append((1, rate))
            rate *= stride
        else:
            plan.append((stride, 1))
            current *= stride
    if current != output_stride:
        raise ValueError(
            f"Expected output_stride to be one of {', '.join(map(str, _reachable(strides)))}. "
            f"Received: output_stride={output_stride}"
        )
    return tuple(plan)


def _reachable(strides: tuple[int, ...]) -> list[int]:
    products = [1]
    for stride in strides:
        products.append(products[-1] * stride)
    return sorted(set(products))

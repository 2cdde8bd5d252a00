"""Exact arithmetic of sizes, coordinates and receptive fields of convolutional networks.

All functions compute with integers and fractions, for one spatial axis.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from tfseg.typing import Tensor


def conv_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Returns the output size of a convolution: `floor((n + 2p - d (k - 1) - 1) / s) + 1`.

    >>> conv_size(500, kernel=3, padding=100)
    698
    """
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def deconv_size(size: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
    """Returns the output size of a transposed convolution: `(n - 1) s + k - 2p`.

    >>> deconv_size(16, kernel=64, stride=32)
    544
    """
    return (size - 1) * stride + kernel - 2 * padding


def caffe_pool_size(size: int, kernel: int, stride: int, padding: int = 0) -> int:
    """Returns the output size of Caffe's pooling, which rounds up and drops a last window that starts in the padding.

    `ceil((n + 2p - k) / s) + 1`, minus one if `p > 0` and the last window would start at or after `n + p`.

    >>> caffe_pool_size(349, kernel=2, stride=2)
    175
    >>> caffe_pool_size(5, kernel=2, stride=2, padding=1)
    3
    """
    pooled = -((size + 2 * padding - kernel) // -stride) + 1
    if padding and (pooled - 1) * stride >= size + padding:
        pooled -= 1
    return pooled


def interp_size(length: int | Tensor, scale: Fraction) -> int | Tensor:
    """Returns the output size of Caffe's `Interp` with shrink factor `q` and zoom factor `p`, for the scale `p / q`.

    An axis of `n` positions gets `(n - 1) // q * p + 1`. `length` is an integer or an integer tensor.

    >>> [interp_size(321, scale) for scale in (Fraction(3, 4), Fraction(1, 2), Fraction(3, 2))]
    [241, 161, 481]

    Reference:
        `interp_layer.cpp` in DeepLab's version of Caffe.
    """
    return (length - 1) // scale.denominator * scale.numerator + 1


@dataclass(frozen=True)
class CoordinateMap:
    """Affine map from coordinates of one tensor to coordinates of another: `x_out = scale * x_in + offset`.

    Coordinates are those of the centers of positions, counted from 0. The identity is `CoordinateMap()`.

    >>> conv_map(kernel=3, padding=100).then(conv_map(kernel=2, stride=2))
    CoordinateMap(scale=Fraction(1, 2), offset=Fraction(197, 4))

    Reference:
        Shelhamer, Long, Darrell, "Fully Convolutional Networks for Semantic Segmentation", PAMI 2017, and
        `coord_map.py` in Caffe.
    """

    scale: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)

    def then(self, other: "CoordinateMap") -> "CoordinateMap":
        """Returns the composition: this map followed by `other`."""
        return CoordinateMap(other.scale * self.scale, other.scale * self.offset + other.offset)


def conv_map(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> CoordinateMap:
    """Returns the map of a convolution or pooling: `scale = 1 / s`, `offset = (p - d (k - 1) / 2) / s`."""
    return CoordinateMap(Fraction(1, stride), (padding - Fraction(dilation * (kernel - 1), 2)) / stride)


def deconv_map(kernel: int, stride: int = 1, padding: int = 0) -> CoordinateMap:
    """Returns the map of a transposed convolution: `scale = s`, `offset = (k - 1) / 2 - p`."""
    return CoordinateMap(Fraction(stride), Fraction(kernel - 1, 2) - padding)


def crop_offset(deep: CoordinateMap, reference: CoordinateMap) -> int:
    """Returns the number of positions to crop from the start of the tensor `deep` to align it with `reference`.

    Both maps are relative to the same tensor, usually the image.

    >>> image = CoordinateMap()
    >>> crop_offset(conv_map(kernel=3, padding=5).then(deconv_map(kernel=1)), image)
    4

    Raises:
        ValueError: If the tensors have different scales, or their offsets do not differ by an integer.
    """
    if deep.scale != reference.scale:
        raise ValueError(
            "Expected two tensors of the same scale to crop one to the other; resize or upsample one of them first. "
            f"Received: deep.scale={deep.scale}, reference.scale={reference.scale}"
        )
    offset = deep.offset - reference.offset
    if offset.denominator != 1:
        raise ValueError(
            "To crop one tensor to the other, their offsets must differ by an integer; change a kernel size by one. "
            f"Received: deep.offset - reference.offset={offset}"
        )
    return int(offset)


@dataclass(frozen=True)
class ReceptiveField:
    """Receptive field: its `size`, and the distance `jump` between neighboring positions, both in input pixels.

    >>> ReceptiveField().then(kernel=3).then(kernel=2, stride=2).then(kernel=3)
    ReceptiveField(size=8, jump=2)
    """

    size: float = 1
    jump: float = 1

    def then(self, kernel: int, stride: int = 1, dilation: int = 1) -> "ReceptiveField":
        """Returns the receptive field after another convolution or pooling."""
        return ReceptiveField(self.size + dilation * (kernel - 1) * self.jump, self.jump * stride)


def dilate(strides: Iterable[int], output_stride: int) -> tuple[tuple[int, int], ...]:
    """Replaces strides by dilation rates to reach an output stride. Returns `(stride, dilation_rate)` of each block.

    Once the product of strides has reached `output_stride`, the stride of each further block becomes 1, and the
    dilation rates of the blocks *after* it are multiplied by the original stride of this block. The dilation rate of
    the block itself does not change, because its stride subsamples only its output. The dilated network thus computes
    the same values as the strided one, at more positions.

    >>> dilate((2, 2, 2, 2, 2), output_stride=8)
    ((2, 1), (2, 1), (2, 1), (1, 1), (1, 2))

    Args:
        strides: Strides of the blocks, first to last.
        output_stride: Integer, desired product of the strides.

    Returns:
        Tuple of pairs `(stride, dilation_rate)`, one per block.

    Raises:
        ValueError: If no product of the first strides equals `output_stride`.

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
            f"Expected `output_stride` to be one of {', '.join(map(str, _reachable(strides)))}. "
            f"Received: output_stride={output_stride}"
        )
    return tuple(plan)


def _reachable(strides: tuple[int, ...]) -> list[int]:
    products = [1]
    for stride in strides:
        products.append(products[-1] * stride)
    return sorted(set(products))

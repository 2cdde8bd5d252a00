"""Properties of all augmentation ops: labels, geometry, borders, dtypes, sizes, seeds and probability.

A new op needs one line in `CASES`.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.data.augment.inputs import MEAN, call, noise, run, seeds
from tfseg.data import (
    Affine,
    Blur,
    Clahe,
    ClassMix,
    ColorJitter,
    CopyPaste,
    Cutout,
    Elastic,
    Flip,
    Gamma,
    Gray,
    GridDistortion,
    Jpeg,
    Mosaic,
    Noise,
    OneOf,
    Pad,
    RandAugment,
    Rot90,
    Rotate,
    Scale,
    Sometimes,
)
from tfseg.data.augment import Augment, AugmentSpec, View, augmented
from tfseg.spec.declare import members

IGNORE = 60000
SIZES = [(1, 1), (1, 7), (33, 20)]
DTYPES = [(np.uint8, np.uint8, 255), (np.float32, np.int32, IGNORE)]
"""Dtypes of image and mask, and the ignore label."""


@dataclass(frozen=True)
class OpCase:
    """An op and its properties."""

    op: Any
    neutral: Any = None
    """The op with a strength of zero, which returns its input; None if there is none."""
    moves: bool = True
    """True if pixels of the image keep their values and the mask moves with them; False if the mask stays the same."""
    uncovers: bool = True
    """True if some pixels of the result are outside of the input or erased."""

    @property
    def name(self) -> str:
        return str(self.op.type)


def still(op: Any, neutral: Any = None) -> OpCase:
    """Returns a case of an op that changes only the image."""
    return OpCase(op, neutral, moves=False, uncovers=False)


CASES = [
    OpCase(Affine(), Affine(scale=(1.0, 1.0), shear=0, degrees=0, translate=0)),
    OpCase(Affine(scale=(0.6, 1.5), aspect=1.5, shear=20, degrees=180, translate=0.3)),
    OpCase(ClassMix(), uncovers=False),
    OpCase(CopyPaste(), uncovers=False),
    OpCase(Cutout(count=2), Cutout(area=(0, 0))),
    OpCase(Elastic(alpha=3, sigma=6), Elastic(alpha=0)),
    OpCase(Flip(), uncovers=False),
    OpCase(Flip(axis="vertical"), uncovers=False),
    OpCase(GridDistortion(), GridDistortion(distortion=0), uncovers=False),
    OpCase(GridDistortion(steps=40, distortion=0.9), GridDistortion(steps=40, distortion=0), uncovers=False),
    OpCase(Mosaic(), uncovers=False),
    OpCase(OneOf(ops=(Flip(), Rotate(degrees=60), Sometimes(ops=(Affine(),))))),
    OpCase(Pad(), Pad(fraction=0)),
    OpCase(Pad(size=(50, 9)), Pad(size=1)),
    OpCase(
        RandAugment(n=1, magnitude=0.8, ops=("rotate", "shear", "translate", "scale")), RandAugment(ops=("identity",))
    ),
    OpCase(Rot90(), uncovers=False),
    OpCase(Rotate(degrees=60), Rotate(degrees=1e-9)),
    OpCase(Scale(), Scale(factors=(1.0,)), uncovers=False),
    OpCase(Scale(min=0.5, max=0.9, aspect=2.0), Scale(min=1, max=1), uncovers=False),
    OpCase(Sometimes(ops=(Rotate(degrees=60), Flip())), Sometimes(ops=(Rotate(degrees=1e-9),))),
    still(Blur(), Blur(sigma=(0.1, 0.1))),
    still(Clahe(tiles=2, clip_limit=(1, 40))),
    still(ColorJitter(), ColorJitter(brightness=0, contrast=0, saturation=0, hue=0)),
    still(Cutout(area=(0.1, 0.4), mask="keep"), Cutout(area=(0, 0), mask="keep")),
    still(Gamma(), Gamma(gamma=(1, 1))),
    still(Gray(probability=0.5)),
    still(Jpeg(quality=(5, 80))),
    still(Noise(), Noise(std=(0, 0))),
]


def for_cases(chosen: Callable[[OpCase], bool]) -> pytest.MarkDecorator:
    """Runs a test for the chosen cases."""
    return pytest.mark.parametrize("case", list(filter(chosen, CASES)), ids=lambda case: case.name)


first_cases = for_cases(lambda case: case is next(each for each in CASES if type(each.op) is type(case.op)))
"""Runs a test for one case of each op."""
every_moving_case = for_cases(lambda case: case.moves)


def test_every_op_has_a_case() -> None:
    assert {type(case.op) for case in CASES} == set(members(Augment))


def always(op: Any) -> Any:
    """Returns the op with a probability of 1, if it has one."""
    return dataclasses.replace(op, probability=1.0) if hasattr(op, "probability") else op


def example(size: tuple[int, int], image_dtype: Any, mask_dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    labels = np.array([0, 1, 7, 200 if mask_dtype is np.uint8 else 40000])
    mask = labels[np.random.default_rng(size).integers(0, 4, size)]
    return noise(*size, dtype=image_dtype), mask.astype(mask_dtype)


@first_cases
@pytest.mark.parametrize("dtypes", DTYPES, ids=lambda each: f"{each[0].__name__}-{each[1].__name__}")
def test_labels_dtypes_and_sizes_in_graphs_of_unknown_shape(case: OpCase, dtypes: tuple[Any, Any, int]) -> None:
    """Checks that labels are never invented, and that a graph and the eager op return the same."""
    image_dtype, mask_dtype, ignore = dtypes
    specs = [tf.TensorSpec([None, None, 3], image_dtype), tf.TensorSpec([None, None], mask_dtype)]
    specs.append(tf.TensorSpec([2], tf.int64))
    graph = tf.function(lambda *given: call(case.op, *given, View(ignore)), input_signature=specs)
    assert graph.get_concrete_function().structured_outputs[0].shape[-1] == 3
    for size in SIZES:
        image, mask = example(size, image_dtype, mask_dtype)
        for seed in seeds(3):
            new_image, new_mask = run(case.op, image, mask, seed, View(ignore))
            assert (new_image.dtype, new_mask.dtype) == (image_dtype, mask_dtype)
            assert new_image.shape[:2] == new_mask.shape and min(new_mask.shape) >= 1
            assert set(np.unique(new_mask)) <= {*np.unique(mask), ignore}
            assert np.isfinite(new_image).all() and new_image.min() >= 0 and new_image.max() <= 255
            assert case.moves or np.array_equal(mask, new_mask)
            other = graph(tf.constant(image), tf.constant(mask), seed)
            np.testing.assert_allclose(new_image.astype(float), other[0], atol=1 if image_dtype is np.uint8 else 0.01)
            np.testing.assert_array_equal(new_mask, other[1])


@every_moving_case
def test_image_and_mask_share_one_geometry(case: OpCase) -> None:
    """The image is a ramp of coordinates, which interpolation keeps exact, and the mask is the number of the pixel.

    Pixels at the border of the input are excluded, since interpolation there uses the fill value or repeats pixels.
    """
    height, width = 61, 47
    ramp = np.stack(np.mgrid[:height, :width], -1).astype(np.float32)
    mask, compared = np.arange(height * width, dtype=np.int32).reshape(height, width), 0
    for seed in seeds(6):
        for view in (View(IGNORE), View(IGNORE, (24, 40))):
            new_image, new_mask = run(always(case.op), ramp, mask, seed, view)
            position = np.stack(np.divmod(new_mask, width), -1)
            inner = ((position > 0) & (position < (height - 1, width - 1))).all(-1) & (new_mask != IGNORE)
            assert np.abs(new_image - position)[inner].max(initial=0) <= 0.501
            compared += np.count_nonzero(inner)
    assert compared > 5000


@every_moving_case
def test_uncovered_pixels_are_ignored_and_filled(case: OpCase) -> None:
    """Excludes two pixels next to borders between covered and uncovered pixels, where interpolation mixes both."""
    uncovered = 0
    for image_dtype, mask_dtype, ignore in DTYPES:
        image, mask = np.full((41, 40, 3), 250, image_dtype), np.full((41, 40), 3, mask_dtype)
        for seed in seeds(6):
            new_image, new_mask = run(always(case.op), image, mask, seed, View(ignore, fill=MEAN))
            outside, inside = _deep(new_mask == ignore), _deep(new_mask == 3)
            assert set(np.unique(new_mask)) <= {3, ignore}
            np.testing.assert_allclose(new_image[outside], np.broadcast_to(MEAN, (outside.sum(), 3)), atol=1e-3)
            np.testing.assert_allclose(new_image[inside], 250, atol=1e-3)
            uncovered += np.count_nonzero(outside)
    assert case.uncovers == (uncovered > 0)


def _deep(pixels: np.ndarray) -> np.ndarray:
    """Returns the pixels whose 5x5 neighborhood is inside of the array and of the same kind."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(pixels, 2), (5, 5))
    return windows.all((2, 3))


@for_cases(lambda case: case.neutral is not None)
def test_zero_strength_is_the_identity(case: OpCase) -> None:
    for image_dtype, mask_dtype, ignore in DTYPES:
        for size in SIZES:
            image, mask = example(size, image_dtype, mask_dtype)
            new_image, new_mask = run(always(case.neutral), image, mask, seeds(2)[1], View(ignore))
            np.testing.assert_array_equal(new_mask, mask)
            np.testing.assert_allclose(new_image, image, rtol=0, atol=0 if image_dtype is np.uint8 else 5e-3)


@first_cases
def test_draws_differ_between_seeds(case: OpCase) -> None:
    image, mask = example((21, 16), np.uint8, np.int32)
    results = [run(always(case.op), image, mask, seed, View(IGNORE)) for seed in seeds(8)]
    outcomes = {new_image.tobytes() + new_mask.tobytes() for new_image, new_mask in results}
    assert len(outcomes) >= {Flip: 1, Gray: 1, Rot90: 2}.get(type(case.op), 3)


@for_cases(lambda case: isinstance(case.op, AugmentSpec) and hasattr(case.op, "probability"))
def test_probability(case: OpCase) -> None:
    """An op that is not applied returns its input; if it is applied, the result does not depend on the probability."""
    image, mask = example((9, 8), np.uint8, np.int32)
    applied = 0
    for seed in seeds(12):
        full = run(always(case.op), image, mask, seed, View(IGNORE))
        half = run(dataclasses.replace(case.op, probability=0.4), image, mask, seed, View(IGNORE))
        as_full, as_input = (_equal(half, other) for other in (full, (image, mask)))
        assert as_full or as_input
        applied += as_full and not as_input
    assert 2 <= applied <= 9


def _equal(one: Any, other: Any) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@first_cases
def test_numbers_of_channels(case: OpCase) -> None:
    supported = 0
    for channels in (1, 2, 4, 7):
        if isinstance(case.op, AugmentSpec) and case.op.channel_problem(channels) is not None:
            continue
        image, mask = noise(9, 8, channels), np.zeros((9, 8), np.int32)
        new_image, _ = run(always(case.op), image, mask, seeds(1)[0], View(IGNORE, fill=tuple(range(channels))))
        assert new_image.shape[-1] == channels
        supported += 1
    assert supported == {Gray: 0, ColorJitter: 0, Jpeg: 1}.get(type(case.op), 4)


@for_cases(lambda case: not case.op.BEFORE_CROP)
def test_ops_after_the_crop_keep_known_sizes(case: OpCase) -> None:
    """Training batches have a known size, as networks with a fixed size require."""
    specs = [tf.TensorSpec([16, 20, 3], tf.uint8), tf.TensorSpec([16, 20], tf.int32), tf.TensorSpec([2], tf.int64)]
    graph = tf.function(lambda *given: call(case.op, *given, View(IGNORE, (16, 20)))).get_concrete_function(*specs)
    assert [output.shape.as_list() for output in graph.structured_outputs] == [[16, 20, 3], [16, 20]]


def test_parallelism_does_not_change_results() -> None:
    """One chain of all ops that need no partners."""
    ops = tuple({type(case.op): always(case.op) for case in CASES if isinstance(case.op, AugmentSpec)}.values())
    images, masks = tf.constant(np.stack([noise(40, 37)] * 2)), tf.constant(np.arange(40 * 37).reshape(1, 40, 37))

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64)])  # traced once
    def load(number: tf.Tensor) -> Any:
        key = tf.stack([tf.constant(5, tf.int64), number])
        return augmented(images[number % 2], tf.cast(masks[0], tf.int32), key, ops, View(IGNORE, (24, 30)))

    def results(parallel: int) -> Any:
        return list(tf.data.Dataset.range(8).map(load, num_parallel_calls=parallel).as_numpy_iterator())

    one, four = results(1), results(4)
    assert len(one) == 8
    assert all(_equal(a, b) for a, b in zip(one, four, strict=True))


def test_ops_that_are_not_applied_cost_nothing() -> None:
    """The transformation is in a branch of the graph."""
    specs = [tf.TensorSpec([16, 20, 3], tf.uint8), tf.TensorSpec([16, 20], tf.int32), tf.TensorSpec([2], tf.int64)]

    def kinds(op: Any) -> set[str]:
        graph = tf.function(lambda *given: op(*given, View(IGNORE))).get_concrete_function(*specs).graph
        return {node.type for node in graph.get_operations()}

    assert "DepthwiseConv2dNative" in kinds(Blur(probability=1))
    assert "DepthwiseConv2dNative" not in kinds(Blur(probability=0.5))

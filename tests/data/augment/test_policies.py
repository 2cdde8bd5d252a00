"""Policies: which ops they apply, how often, and where in the chain."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfseg.data import ColorJitter, CopyPaste, Data, Flip, OneOf, RandAugment, Rotate, Scale, Shapes, Sometimes
from tfseg.data.augment import AugmentSpec, Pair, View, augmented
from tfseg.data.augment.magnitudes import MAGNITUDES
from tfseg.data.augment.policies import Policy
from tfseg.errors import DataError
from tfseg.labels import Labels
from tfseg.spec import SpecError

VIEW = View(255)
SIDES, TOPS = Flip(probability=1.0), Flip(axis="vertical", probability=1.0)
IMAGE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
MASK = np.arange(24, dtype=np.int32).reshape(4, 6)
CORNERS = {0: "none", 5: "sides", 18: "tops", 23: "both"}
"""Names of the flips that bring each corner of the mask to the top left."""


def flips(op: Any, count: int) -> dict[str, int]:
    """Counts the flips that a policy of flips applies; the image must follow the mask."""
    run = tf.function(lambda key: op(tf.constant(IMAGE), tf.constant(MASK), key, VIEW))
    found = dict.fromkeys(CORNERS.values(), 0)
    for number in range(count):
        image, mask = run(tf.constant([3, number], tf.int64))
        np.testing.assert_array_equal(image[..., 0], 3 * mask.numpy())
        found[CORNERS[int(mask[0, 0])]] += 1
    return found


def test_sometimes_applies_all_ops_or_none() -> None:
    found = flips(Sometimes(ops=(SIDES, TOPS), probability=0.25), 200)
    assert found["sides"] == found["tops"] == 0
    assert 30 <= found["both"] <= 70


def test_one_of_applies_one_op_by_its_weight() -> None:
    found = flips(OneOf(ops=(SIDES, TOPS), weights=(1.0, 3.0)), 200)
    assert found["none"] == found["both"] == 0
    assert 30 <= found["sides"] <= 70
    equal = flips(OneOf(ops=(SIDES, TOPS)), 200)
    assert 75 <= equal["sides"] <= 125


def test_policies_in_policies() -> None:
    """A sub-policy of AutoAugment: ops with a probability each; one sub-policy is drawn."""
    both = Sometimes(ops=({"type": "sometimes", "ops": (SIDES,)}, TOPS), probability=1.0)
    found = flips(OneOf(ops=(both, Sometimes(ops=(SIDES,), probability=1.0))), 200)
    assert found["none"] == 0
    assert 75 <= found["sides"] <= 125 and 30 <= found["tops"] <= 70 and 30 <= found["both"] <= 70


def test_draws_of_repeated_ops_are_independent() -> None:
    found = flips(Sometimes(ops=(Flip(), Flip(axis="vertical")), probability=1.0), 200)
    assert min(found.values()) >= 30


def test_rand_augment_applies_n_ops() -> None:
    """Two of flip (with probability 0.5) and identity: an odd number of flips with probability 0.375."""
    one = flips(RandAugment(n=1, ops=("flip",)), 200)
    assert 75 <= one["sides"] <= 125 and one["none"] + one["sides"] == 200
    two = flips(RandAugment(n=2, ops=("flip", "identity")), 200)
    assert 50 <= two["sides"] <= 100


@pytest.mark.parametrize("name", MAGNITUDES)
def test_magnitudes_of_rand_augment(name: str) -> None:
    """No change at magnitude 0, except flips."""
    rng = np.random.default_rng(0)
    side = 256 if name == "equalize" else 24  # tiles of few pixels have few levels to clip
    image, mask = rng.integers(60, 190, (side, side, 3), np.uint8), rng.integers(0, 4, (side, side), np.uint8)
    changes = []
    for magnitude in (0.0, 0.5, 1.0):
        op, change = RandAugment(n=1, magnitude=magnitude, ops=(name,)), 0.0
        for seed in range(6):
            new, ids = op(tf.constant(image), tf.constant(mask), tf.constant([seed, 0], tf.int64), View(255, (8, 8)))
            assert set(np.unique(ids)) <= {0, 1, 2, 3, 255}
            same = new.shape == image.shape
            change += float(np.abs(new.numpy().astype(float) - image).mean()) if same else abs(new.shape[0] - side) * 99
        changes.append(change)
    if name in ("identity", "flip"):
        assert (changes[0] > 0) == (name == "flip") and changes[0] == changes[1] == changes[2]
    elif name == "scale":  # which keeps a window of the size of the crop
        assert changes[2] > 0
    else:
        assert 0 == changes[0] < changes[1] and changes[2] > 0


def test_default_ops_of_rand_augment_are_the_table() -> None:
    assert RandAugment().ops == tuple(MAGNITUDES)


def test_a_policy_is_applied_before_the_crop_if_one_of_its_ops_is() -> None:
    for policy, before in (
        (Sometimes(ops=(Flip(), ColorJitter())), False),
        (Sometimes(ops=(Flip(), Rotate())), True),
        (OneOf(ops=(Flip(), Sometimes(ops=(Scale(),)))), True),
        (RandAugment(), True),
        (RandAugment(ops=("identity", "hue")), False),
    ):
        assert policy.BEFORE_CROP is before
    grown = OneOf(ops=(Scale(factors=(2.0,)),))
    image, mask = tf.zeros([8, 8, 3], tf.uint8), tf.zeros([8, 8], tf.uint8)
    _, ids = augmented(image, mask, tf.constant([0, 0], tf.int64), (grown,), View(255, (16, 16)))
    assert (ids.numpy() == 0).all(), "no padding"


@pytest.mark.slow
def test_batches_with_policies() -> None:
    """Branches of different sizes, with and without a crop; masks have only labels and the ignore label."""
    labels = Labels(names=("ground", "disc"))
    ops = (RandAugment(), OneOf(ops=(Flip(), Scale(factors=(0.5,)))), Sometimes(ops=(ColorJitter(),)))
    for crop, shape in (((20, 24), (2, 20, 24, 3)), (None, None)):
        data = Data(source=Shapes(size=32, train=3), batch_size=2, crop=crop, augment=ops).open(labels)
        image, mask = data.training_batch(1, 0)
        again, _ = data.training_batch(1, 0)
        np.testing.assert_array_equal(image, again)
        assert shape is None or image.shape == shape
        assert image.shape[:3] == mask.shape and set(np.unique(mask)) <= {0, 1, 255}


@pytest.mark.parametrize("policy", [Sometimes, OneOf])
def test_mixing_ops_are_rejected_in_policies(policy: type) -> None:
    text = (
        "ops that mix examples are not possible inside a policy: list it in data.augment, with `probability`; received"
    )
    with pytest.raises(SpecError) as caught:
        policy(ops=(Flip(), CopyPaste()))
    assert str(caught.value) == f"{policy.__name__}: ops.1: {text} copy_paste"
    with pytest.raises(SpecError) as caught:
        policy(ops=(Flip(), {"type": "sometimes", "ops": ("mosaic",)}))
    assert str(caught.value) == f"{policy.__name__}: ops.1.ops.0: {text} mosaic"


def test_invalid_fields() -> None:
    with pytest.raises(SpecError, match=r"^OneOf: weights: expected 2: one per op; received 1$"):
        OneOf(ops=(Flip(), Flip()), weights=(1.0,))
    with pytest.raises(SpecError, match=r"^OneOf: weights.1: expected a number greater than 0; received 0.0$"):
        OneOf(ops=(Flip(), Flip()), weights=(1.0, 0.0))
    with pytest.raises(SpecError, match=r'^RandAugment: ops.1: expected one of identity, scale, .*; received "blurr"$'):
        RandAugment(ops=("flip", "blurr"))
    with pytest.raises(SpecError, match=r"^Sometimes: ops: expected a list of at least 1 item; received an empty list"):
        Sometimes(ops=())


def test_colors_of_gray_images() -> None:
    gray = Shapes(size=16, channels=1)
    with pytest.raises(SpecError) as caught:
        Data(source=gray, augment=(OneOf(ops=(Flip(), ColorJitter())), RandAugment(ops=("flip", "hue"))))
    assert str(caught.value).splitlines() == [
        "Data: augment.0.ops.1: saturation and hue must be 0 for images with 1 channels; received 0.2 and 0.02",
        "Data: augment.1.ops: expected ops for images with 1 channels, without hue; received flip, hue",
    ]
    Data(source=gray, augment=(RandAugment(ops=("flip", "brightness", "contrast")),))


class Broken(AugmentSpec):
    """An op of a plugin that fails."""

    type = "broken"

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        raise ZeroDivisionError("no reason")


class Holder(Policy):
    """A policy without a spec, to apply an op that no slot has."""

    type = "holder"

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, view: View) -> Pair:
        inside = Sometimes(ops=(Flip(),), probability=1.0)
        object.__setattr__(inside, "ops", (Broken(),))
        return inside(image, mask, seed, view)

    @property
    def inner(self) -> tuple[Any, ...]:
        return ()


def test_an_op_that_fails_inside_a_policy_is_named() -> None:
    key, image, mask = tf.constant([0, 0], tf.int64), tf.constant(IMAGE), tf.constant(MASK)
    with pytest.raises(DataError, match=r"^data.augment: broken fails \(ZeroDivisionError: no reason\)$"):
        augmented(image, mask, key, (Holder(),), VIEW)

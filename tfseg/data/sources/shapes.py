"""Synthetic scenes: data without files, for demos, tests and quick checks of training.

A scene is a pure function of the seed, the split and the index. All geometry is integer arithmetic (lengths in quarter
pixels, sines from a table), so that scenes are bit-identical on all machines.
"""

import functools
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import tensorflow as tf
from pydantic import Field

from tfseg.data.examples import VALID, Examples, Listing, Loaded, Source
from tfseg.labels import Labels
from tfseg.spec.declare import spec

QUARTER = 4
"""Number of length units per pixel."""
TURN = 256
"""Number of directions of a full turn."""
ONE = 1024
"""Fixed-point representation of 1, for sines and ratios."""
DRAW = 1 << 16
"""Exclusive upper bound of random integers."""

KINDS = 6
"""Number of shapes: disc, square, triangle, ring, cross, bar. Class `c` has the shape `(c - 1) % KINDS`."""
TEXTURES = 4
"""Number of textures: plain, stripes, checkerboard, dots."""

_ANGLES = np.arange(TURN) * 2 * np.pi / TURN
_SINE = np.round(np.sin(_ANGLES) * ONE).astype(np.int32)
_COSINE = np.round(np.cos(_ANGLES) * ONE).astype(np.int32)

Side = Annotated[int, Field(ge=16, le=2048)]


@spec
class Shapes(Source):
    """Synthetic scenes of textured, occluding shapes of several sizes on an uneven background (class 0)."""

    type: Literal["shapes"] = "shapes"
    NEEDS_ROOT: ClassVar[bool] = False
    ONE_SIZE: ClassVar[bool] = True
    size: Side | tuple[Side, Side] = 96
    """Size of the images: side of a square, or height and width."""
    train: Annotated[int, Field(ge=1)] = 1000
    """Number of scenes of the split `train`."""
    val: Annotated[int, Field(ge=1)] = 100
    """Number of scenes of the split `val`."""
    test: Annotated[int, Field(ge=1)] = 100
    """Number of scenes of the split `test`."""
    objects: Annotated[int, Field(ge=1, le=64)] = 8
    """Maximum number of shapes per scene; the minimum is half the maximum, rounded up."""
    channels: Annotated[int, Field(ge=1)] = 3
    """Number of channels of the images."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the scenes."""

    def splits(self, root: object = None) -> tuple[str, ...]:
        """Returns `train`, `val` and `test`."""
        return ("train", "val", "test")

    def listing(self, root: object, split: str) -> Listing:
        """Lists the scenes of a split, which are named by number."""
        count = {"train": self.train, "val": self.val, "test": self.test}[split]
        return Listing(split, tuple(f"{split}_{index:06d}" for index in range(count)), ((),) * count)

    def examples(self, listing: Listing, labels: Labels) -> Examples:
        """Returns the scenes, to be drawn by index."""
        stream = self.splits().index(listing.split)
        drawing = _drawing(self._size, labels.count, self.objects, self.channels)

        def load(index: tf.Tensor) -> Loaded:
            seed = tf.random.experimental.stateless_fold_in(tf.constant([self.seed, stream], tf.int64), index)
            return *drawing(seed), tf.constant(VALID)

        return Examples(listing, load, lambda index: load(index)[1:])

    @property
    def _size(self) -> tuple[int, int]:
        return (self.size, self.size) if isinstance(self.size, int) else self.size


@functools.lru_cache(maxsize=16)
def _drawing(size: tuple[int, int], classes: int, objects: int, channels: int) -> Any:
    """Returns `draw` as one graph for all datasets with these arguments, so that its many ops are traced once."""
    scene = functools.partial(draw, size=size, classes=classes, objects=objects, channels=channels)
    return tf.function(scene, input_signature=[tf.TensorSpec([2], tf.int64)], autograph=False)


def draw(
    seed: tf.Tensor, size: tuple[int, int], classes: int, objects: int, channels: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws one scene: image uint8 `[height, width, channels]` and mask int32 `[height, width]`."""
    seeds = [tf.random.experimental.stateless_fold_in(seed, stream) for stream in range(3)]
    shapes = _shapes(seeds[0], size, classes, objects)
    top = _top(shapes, size)
    identity = tf.gather(tf.concat([[0], shapes["class"]], 0), top)
    image = _light(seeds[1], size, channels) + _surface(seeds[2], shapes, top, size, _colors(classes, channels))
    return tf.cast(tf.clip_by_value(image, 0, 255), tf.uint8), identity


def _integers(seed: tf.Tensor, shape: list[int]) -> tf.Tensor:
    return tf.random.stateless_uniform(shape, seed, 0, DRAW, tf.int32, alg="philox")


def _below(draws: tf.Tensor, limit: int) -> tf.Tensor:
    """Scales random draws to integers in [0, limit); `limit` is at most 2**15."""
    return tf.bitwise.right_shift(draws * limit, 16)


def _shapes(seed: tf.Tensor, size: tuple[int, int], classes: int, objects: int) -> dict[str, tf.Tensor]:
    """Samples class, position, angle, radius and thickness of all shapes, from large to small: the last is on top."""
    draws = tf.unstack(_integers(seed, [7, objects]))
    height, width = (side * QUARTER for side in size)
    largest, smallest = min(height, width) * 5 // 16, min(height, width) // 10
    ramp = [largest - (largest - smallest) * index // max(objects - 1, 1) for index in range(objects)]
    shown = tf.range(objects) >= _below(draws[6][:1], objects // 2 + 1)
    angle = _below(draws[3], TURN)
    radius = tf.constant(ramp) * (3 * ONE // 4 + _below(draws[4], ONE // 2)) // ONE
    return {
        "class": 1 + _below(draws[0], classes - 1),
        "x": _below(draws[1], width), "y": _below(draws[2], height),
        "cos": tf.gather(_COSINE, angle), "sin": tf.gather(_SINE, angle),
        "radius": tf.where(shown, radius, -1),
        "thin": tf.maximum(radius * (ONE // 8 + _below(draws[5], ONE // 16)) // ONE, 3 * QUARTER // 2),
    }  # fmt: skip


def _top(shapes: dict[str, tf.Tensor], size: tuple[int, int]) -> tf.Tensor:
    """Returns 1 + the index of the last shape that covers a pixel, or 0 for background, int32 `[height, width]`."""
    across, down = ({name: shape[:, None, None] for name, shape in shapes.items()} for _ in range(2))
    x = (QUARTER * tf.range(size[1]))[None, None] - across["x"]
    y = (QUARTER * tf.range(size[0]))[None, :, None] - down["y"]
    u = tf.bitwise.right_shift(x * across["cos"] + y * down["sin"], 10)
    v = tf.bitwise.right_shift(y * down["cos"] - x * across["sin"], 10)
    inside = _inside(u, v, across["radius"], across["thin"], (across["class"] - 1) % KINDS)
    order = tf.range(1, 1 + tf.shape(shapes["x"])[0])[:, None, None]
    return tf.reduce_max(tf.where(inside, order, 0), 0)


def _inside(u: tf.Tensor, v: tf.Tensor, radius: tf.Tensor, thin: tf.Tensor, kind: tf.Tensor) -> tf.Tensor:
    """Returns whether the point (u, v), in the coordinates of a shape, is inside it."""
    left, up = tf.abs(u), tf.abs(v)
    far, near, square = tf.maximum(left, up), tf.minimum(left, up), u * u + v * v
    shown = radius > 0
    disc = square < radius * radius
    hole = radius * 5 // 8
    shapes = [
        disc,
        far < radius * 13 // 16,
        (2 * v < radius) & (left * 7 // 4 - v < radius),
        disc & (square > hole * hole),
        (near < 2 * thin) & (far < radius),
        (up < thin) & (left < radius * 3 // 2),
    ]
    chosen = shapes[0]
    for index, shape in enumerate(shapes[1:], 1):
        chosen = tf.where(tf.equal(kind, index), shape, chosen)
    return chosen & shown


def _surface(
    seed: tf.Tensor, shapes: dict[str, tf.Tensor], top: tf.Tensor, size: tuple[int, int], colors: np.ndarray
) -> tf.Tensor:
    """Renders color and texture of the topmost shape at each pixel, as int32 `[height, width, channels]`."""
    objects, channels = shapes["x"].shape[0], colors.shape[1]
    draws = _integers(seed, [objects + 1, channels + 2])
    identity = tf.concat([[0], shapes["class"]], 0)
    shade = tf.gather(tf.constant(colors), identity) + _below(draws[:, :1], 81) - 40
    shade += _below(draws[:, 2:], 41) - 20
    relief = 20 + _below(draws[:, 1], 30)
    frame = [tf.concat([[first], shapes[name]], 0) for name, first in (("x", 0), ("y", 0), ("cos", ONE), ("sin", 0))]
    columns = tf.gather(tf.stack([*frame, identity, relief, *tf.unstack(shade, axis=1)], 1), top)
    x, y, cos, sin, identity, relief = (columns[:, :, index] for index in range(6))
    x, y = QUARTER * tf.range(size[1])[None] - x, QUARTER * tf.range(size[0])[:, None] - y
    u, v = tf.bitwise.right_shift(x * cos + y * sin, 14), tf.bitwise.right_shift(y * cos - x * sin, 14)
    return columns[:, :, 6:] + (relief * _texture(u, v, identity))[:, :, None]


def _texture(u: tf.Tensor, v: tf.Tensor, identity: tf.Tensor) -> tf.Tensor:
    """Returns the texture, -1, 0 or 1, at coordinates in units of 4 pixels."""
    kind = (identity + (identity - 1) // KINDS) % TEXTURES
    pattern = tf.where(tf.equal(kind, 1), u, tf.where(tf.equal(kind, 2), tf.bitwise.bitwise_xor(u, v), u & v))
    return tf.where(tf.equal(kind, 0) | tf.equal(identity, 0), 0, 1 - 2 * (pattern & 1))


def _light(seed: tf.Tensor, size: tuple[int, int], channels: int) -> tf.Tensor:
    """Returns uneven lighting and noise for the whole image, around 0."""
    slopes = _below(_integers(seed, [2, 2]), 129) - 64
    x, y = tf.range(size[1])[None] * ONE // size[1], tf.range(size[0])[:, None] * ONE // size[0]
    phases = [x * slope[0] // 32 + y * slope[1] // 32 for slope in tf.unstack(slopes)]
    waves = [tf.abs(phase % ONE - ONE // 2) // 16 - 8 for phase in phases]
    noise = tf.random.stateless_uniform([*size, channels], seed, -14, 15, tf.int32, alg="philox")
    return noise + (waves[0] + waves[1])[:, :, None]


def _colors(classes: int, channels: int) -> np.ndarray:
    """Returns colors, int32 `[classes, channels]`: gray for background, golden-angle hues for the other classes."""
    hues = 2 * np.pi * ((np.arange(classes)[:, None] * 0.618034) % 1 + np.arange(channels) / channels)
    colors = 128 + 80 * np.cos(hues)
    colors[0] = 112
    return np.round(colors).astype(np.int32)

"""Computations for each class that an image has labeled pixels of."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tfseg.losses.pixels import Pixels
from tfseg.typing import Tensor


def map_present(
    function: Callable[..., Any], otherwise: Callable[[tuple[Any, Any]], Any], pixels: Pixels, *maps: Tensor
) -> tuple[Any, Tensor]:
    """Calls a function for each image and each class in its label, without a gradient.

    An image mostly has few of the classes, so that this is much faster than a computation for all of them; and one
    class at a time needs little memory.

    Args:
        function: Function of two masks `[height, width]`, of the pixels of the class and of the other labeled pixels,
            and of `maps` of this image and class. Returns a tensor or a structure of tensors.
        otherwise: Function of the height and width that returns the values for classes that an image does not have.
        pixels: Pixels of a batch.
        maps: Tensors `[batch, classes, height, width]`.

    Returns:
        The results, of shape `[batch, classes, ...]`, and booleans `[batch, classes]`, True for classes in the label.
    """
    images, height, width = ops.shape(pixels.labels)
    labels = ops.where(pixels.counted > 0, ops.cast(pixels.labels, "int32"), -1)
    # An additional image without labels, because an empty batch could not be mapped.
    labels = ops.pad(labels, [(0, 1), (0, 0), (0, 0)], constant_values=-1)

    def one(index: Tensor) -> tuple[Any, Tensor]:
        image, identity = index // pixels.classes, index % pixels.classes
        own = ops.take(labels, image, axis=0)
        inside = ops.equal(own, identity)
        present = ops.any(inside)

        def computed() -> Any:
            others = ops.logical_and(own >= 0, ops.logical_not(inside))
            flat = (ops.reshape(each, (images * pixels.classes, height, width)) for each in maps)
            return function(inside, others, *(ops.take(each, index, axis=0) for each in flat))

        return ops.cond(present, computed, lambda: otherwise((height, width))), present

    results, present = ops.map(one, ops.arange(images * pixels.classes + 1))
    shaped = (images, pixels.classes)

    def split(values: Tensor) -> Tensor:
        return ops.stop_gradient(ops.reshape(values[:-1], (*shaped, *ops.shape(values)[1:])))

    return keras.tree.map_structure(split, results), ops.reshape(present[:-1], shaped)

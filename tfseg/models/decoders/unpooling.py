"""Functions shared by decoders that unpool."""

from collections.abc import Iterator

import keras

from tfseg.backbones.features import Features, Stage
from tfseg.layers import MaxUnpooling2D
from tfseg.layers.norm import EPSILON, normalized
from tfseg.models.backbone_features import needs_crop
from tfseg.spec.problems import FieldProblem


def pools(features: Features) -> tuple[Stage, ...]:
    """Returns the stages with argmax indices, shallow ones first."""
    return tuple(stage for stage in features.stages if stage.indices is not None)


def unpool(x: keras.KerasTensor, pool: Stage, name: str) -> keras.KerasTensor:
    """Unpools `x` by the argmax indices of `pool`, to the size of the pool's input, also if odd."""
    return MaxUnpooling2D(2, padding="same", name=name)([x, pool.indices, pool.source])


def unpooling_problems(features: Features, decoder: str) -> Iterator[FieldProblem]:
    """Yields a (path, message) pair for each reason why `features` do not fit a decoder that unpools."""
    if not pools(features):
        message = (
            f"{decoder} unpools by argmax indices, and the pools of {features.backbone} do not return them. "
            "Set model.backbone to {type: vgg16, indices: true, fc: null}"
        )
    elif features.deepest.indices is None:
        message = (
            f"{decoder} starts from the last pool, and fc6 and fc7 of {features.backbone} would be unused. Set "
            "model.backbone.fc to null"
        )
    elif needs_crop(features):
        message = (
            f"the scores of {decoder} have the size of the padded image, which {features.backbone} in its "
            f"{features.form or 'padded'} form makes larger than the image. Set model.backbone.form to same"
        )
    else:
        return
    yield (), message


def activated(
    x: keras.KerasTensor, name: str, relu: str, *, epsilon: float = EPSILON, shift: float = 0.0
) -> keras.KerasTensor:
    """Applies a normalization, whose beta is initialized to `shift`, and ReLU."""
    initializer = keras.initializers.Constant(shift)
    return keras.layers.ReLU(name=relu)(normalized(x, f"{name}_bn", epsilon=epsilon, beta_initializer=initializer))

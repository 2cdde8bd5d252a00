"""What decoders that undo the backbone's pools have in common."""

from collections.abc import Iterator

import keras

from tfseg.backbones.features import Features, Stage
from tfseg.layers import MaxUnpooling2D
from tfseg.layers.norm import EPSILON, normalized
from tfseg.models.backbone_features import needs_crop
from tfseg.spec.problems import FieldProblem


def pools(features: Features) -> tuple[Stage, ...]:
    """The stages that know where their maxima were, shallow ones first."""
    return tuple(stage for stage in features.stages if stage.indices is not None)


def unpool(x: keras.KerasTensor, pool: Stage, name: str) -> keras.KerasTensor:
    """`x` at the places and in the size that `pool` read: odd sizes too come back as they were."""
    return MaxUnpooling2D(2, padding="same", name=name)([x, pool.indices, pool.source])


def unpooling_problems(features: Features, decoder: str) -> Iterator[FieldProblem]:
    """What keeps a decoder that unpools from scoring `features`."""
    if not pools(features):
        message = (
            f"{decoder} puts values back where pools found them, and the pools of {features.backbone} keep no places. "
            "Set model.backbone to {type: vgg16, indices: true, fc: null}"
        )
    elif features.deepest.indices is None:
        message = (
            f"{decoder} begins at the last pool, where fc6 and fc7 of {features.backbone} would be left unused. Set "
            "model.backbone.fc to null"
        )
    elif needs_crop(features):
        message = (
            f"{decoder} ends at the size of the padded image, which {features.backbone} in its "
            f"{features.form or 'padded'} form makes larger than the image. Set model.backbone.form to same"
        )
    else:
        return
    yield (), message


def activated(
    x: keras.KerasTensor, name: str, relu: str, *, epsilon: float = EPSILON, shift: float = 0.0
) -> keras.KerasTensor:
    """A normalization, whose beta starts at `shift`, and ReLU."""
    start = keras.initializers.Constant(shift)
    return keras.layers.ReLU(name=relu)(normalized(x, f"{name}_bn", epsilon=epsilon, beta_initializer=start))

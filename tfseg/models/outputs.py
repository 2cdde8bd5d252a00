"""Outputs of a network: float32 logits, and in training the scores before the head."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import keras


@dataclass(frozen=True)
class Scores:
    """Outputs of a decoder: its scores, and auxiliary scores for training.

    Args:
        main: Scores `[batch, height, width, classes]`, which the head brings to the image size.
        auxiliary: Auxiliary scores of any size, by name; the training model returns them as the outputs `aux_<name>`.
        features: Features of any size from which the scores are computed, used by attention to scale; None for the
            backbone's deepest stage. They cannot be inferred from the graph: several of its tensors may be scored, and
            scores may have as many channels as features.
    """

    main: keras.KerasTensor
    auxiliary: Mapping[str, keras.KerasTensor] = field(default_factory=dict)
    features: keras.KerasTensor | None = None

    @classmethod
    def of(cls, scores: keras.KerasTensor | Self) -> Self:
        """Returns `scores`, or wraps a tensor of main scores."""
        return scores if isinstance(scores, cls) else cls(scores)


def scored(x: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """Returns `x` if it has the shape of scores, `[batch, height, width, classes]`.

    Raises:
        ValueError: If it does not.
    """
    if not isinstance(x, keras.KerasTensor) or len(x.shape) != 4 or x.shape[-1] != classes:
        shown = list(x.shape) if isinstance(x, keras.KerasTensor) else repr(x)
        raise ValueError(f"expected scores [batch, height, width, {classes}]. Received: {shown}")
    return x


def functional(
    image: keras.KerasTensor, logits: keras.KerasTensor, scores: keras.KerasTensor | Scores | None = None
) -> keras.Model:
    """Returns the model from `image` to `logits`, or to `{"logits", "scores", "aux_…"}` if `scores` are given.

    Outputs are float32 under every dtype policy: a softmax in float16 saturates.
    """
    outputs = _float32(logits, "logits")
    if scores is not None:
        scores = Scores.of(scores)
        auxiliary = {f"aux_{name}": tensor for name, tensor in scores.auxiliary.items()}
        named = {"scores": scores.main, **auxiliary}
        outputs = {"logits": outputs, **{name: _float32(tensor, name) for name, tensor in named.items()}}
    return keras.Model(image, outputs)


def _float32(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.Activation("linear", dtype="float32", name=name)(x)

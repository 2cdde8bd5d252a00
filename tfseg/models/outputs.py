"""What every network ends with: float32 logits, and where training asks for them the scores before the head."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import keras


@dataclass(frozen=True)
class Scores:
    """What a decoder gives: its scores, and further ones that only training uses.

    Args:
        main: `[batch, height, width, classes]`: what the head brings to the image's size.
        auxiliary: scores of their own size each; the training form gives `{"name": …}` as its output `aux_name`.
        features: what was scored, of any size, which attention to several scales reads; None: the backbone's deepest
            stage. A decoder says so, because a graph does not: several of its tensors may be scored, and scores may
            have as many channels as features.
    """

    main: keras.KerasTensor
    auxiliary: Mapping[str, keras.KerasTensor] = field(default_factory=dict)
    features: keras.KerasTensor | None = None

    @classmethod
    def of(cls, scores: keras.KerasTensor | Self) -> Self:
        """`scores` itself, or a tensor as the scores of a decoder that gives no others."""
        return scores if isinstance(scores, cls) else cls(scores)


def scored(x: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """`x`, which must be scores: `[batch, height, width, classes]`.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(x, keras.KerasTensor) or len(x.shape) != 4 or x.shape[-1] != classes:
        shown = list(x.shape) if isinstance(x, keras.KerasTensor) else repr(x)
        raise ValueError(f"expected scores [batch, height, width, {classes}]. Received: {shown}")
    return x


def functional(
    image: keras.KerasTensor, logits: keras.KerasTensor, scores: keras.KerasTensor | Scores | None = None
) -> keras.Model:
    """The model from `image` to `logits`, or to `{"logits", "scores", "aux_…"}` where `scores` are given.

    Outputs are float32 under every precision policy: a softmax in float16 saturates.
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

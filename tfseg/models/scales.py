"""Multi-scale inputs: one network, laid over an image at several scales."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras

from tfseg.keras_internals import rerun
from tfseg.layers import AttentionToScale, ResizeBy, ResizeLike
from tfseg.models.outputs import Scores

Fusion = Literal["max", "mean", "attention"]


def multi_scale(
    image: keras.KerasTensor,
    score: Callable[[keras.KerasTensor], Scores],
    scales: Sequence[float],
    fusion: Fusion,
) -> Scores:
    """The scores of `image` at all `scales`, brought to the size of those at scale 1 and fused.

    The layers that `score` makes are made once, and called for every scale: they are layers of the resulting model like
    any others, under their own names, and a weight file of the single-scale network fits.

    The scores of each scale, at their own size, are auxiliary ones: each has a loss of its own (Chen et al. 2018,
    section 4.3, and Chen et al., "Attention to Scale", 2016, section 3.3). Attention reads the features that are scored
    (section 3.2), brought to the size of the scores as well.
    """
    inner = keras.Input(image.shape[1:], name="scaled")
    network = score(inner)
    wanted = {"main": network.main, "auxiliary": dict(network.auxiliary)}
    layers = keras.Model(inner, wanted | ({"features": network.features} if fusion == "attention" else {}))
    seen = {scale: rerun(layers, [_scaled(image, scale)]) for scale in scales}
    each = {f"scale_{_word(scale)}": outputs["main"] for scale, outputs in seen.items()}
    return Scores(_fused(seen, fusion), {**seen[1.0]["auxiliary"], **each})


def _fused(seen: dict[float, Any], fusion: Fusion) -> keras.KerasTensor:
    reference = seen[1.0]["main"]
    scores = [
        outputs["main"] if scale == 1 else _raised(outputs["main"], reference, f"raised_{_word(scale)}")
        for scale, outputs in seen.items()
    ]
    if fusion == "attention":  # features may be of another stride than scores, at scale 1 too
        features = [_raised(outputs["features"], reference, f"seen_{_word(scale)}") for scale, outputs in seen.items()]
        return AttentionToScale(len(scores), name="attention")([*scores, *features])
    return (keras.layers.Maximum if fusion == "max" else keras.layers.Average)(name="fused")(scores)


def _scaled(image: keras.KerasTensor, scale: float) -> keras.KerasTensor:
    return image if scale == 1 else ResizeBy(scale, dtype="float32", name=f"image_{_word(scale)}")(image)


def _raised(x: keras.KerasTensor, reference: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return ResizeLike(align_corners=True, name=name)([x, reference])


def _word(scale: float) -> str:
    """`0.75` as `0_75`: a name that every format takes."""
    return f"{scale:g}".replace(".", "_")

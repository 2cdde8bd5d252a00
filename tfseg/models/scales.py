"""Multi-scale inputs: one network with shared weights, applied to an image at several scales."""

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
    """Scores `image` at all `scales`, resizes the scores to the size of those at scale 1, and fuses them.

    The layers that `score` builds are shared by all scales. They keep their names in the resulting model, so that a
    weight file of the single-scale network fits.

    The scores at each scale, at their own size, are auxiliary scores with a loss of their own, as in ports of DeepLab
    v2 and in Chen et al., "Attention to Scale", 2016, section 3.3. The fusion `attention` (section 3.2 of that paper)
    uses the features from which the scores are computed, resized to the scores at scale 1.
    """
    inner = keras.Input(image.shape[1:], name="scaled")
    network = score(inner)
    wanted = {"main": network.main, "auxiliary": dict(network.auxiliary)}
    layers = keras.Model(inner, wanted | ({"features": network.features} if fusion == "attention" else {}))
    results = {scale: rerun(layers, [_scaled(image, scale)]) for scale in scales}
    per_scale = {f"scale_{_label(scale)}": outputs["main"] for scale, outputs in results.items()}
    return Scores(_fused(results, fusion), {**results[1.0]["auxiliary"], **per_scale})


def _fused(results: dict[float, Any], fusion: Fusion) -> keras.KerasTensor:
    reference = results[1.0]["main"]
    scores = [
        outputs["main"] if scale == 1 else _resized(outputs["main"], reference, f"raised_{_label(scale)}")
        for scale, outputs in results.items()
    ]
    if fusion == "attention":  # features can have another stride than scores, even at scale 1
        features = [
            _resized(outputs["features"], reference, f"seen_{_label(scale)}") for scale, outputs in results.items()
        ]
        return AttentionToScale(len(scores), name="attention")([*scores, *features])
    return (keras.layers.Maximum if fusion == "max" else keras.layers.Average)(name="fused")(scores)


def _scaled(image: keras.KerasTensor, scale: float) -> keras.KerasTensor:
    return image if scale == 1 else ResizeBy(scale, dtype="float32", name=f"image_{_label(scale)}")(image)


def _resized(x: keras.KerasTensor, reference: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return ResizeLike(align_corners=True, name=name)([x, reference])


def _label(scale: float) -> str:
    """Returns `0_75` for 0.75, valid in layer names and file formats."""
    return f"{scale:g}".replace(".", "_")

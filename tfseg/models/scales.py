"""Multi-scale inputs: one network, laid over an image at several scales."""

from collections.abc import Callable, Sequence
from typing import Literal

import keras

from tfseg.keras_internals import rerun
from tfseg.layers import ResizeBy, ResizeLike
from tfseg.models.outputs import Scores

Fusion = Literal["max", "mean"]


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
    section 4.3, and Chen et al., "Attention to Scale", 2016, section 3.3).
    """
    inner = keras.Input(image.shape[1:], name="scaled")
    network = score(inner)
    layers = keras.Model(inner, {"main": network.main, **network.auxiliary})
    seen = {scale: rerun(layers, [_scaled(image, scale)]) for scale in scales}
    reference = seen[1.0]["main"]
    raised = [
        outputs["main"] if scale == 1 else _raised(outputs["main"], reference, scale) for scale, outputs in seen.items()
    ]
    fuse = keras.layers.Maximum if fusion == "max" else keras.layers.Average
    auxiliary = {name: tensor for name, tensor in seen[1.0].items() if name != "main"}
    each = {f"scale_{_word(scale)}": outputs["main"] for scale, outputs in seen.items()}
    return Scores(fuse(name="fused")(raised), {**auxiliary, **each})


def _scaled(image: keras.KerasTensor, scale: float) -> keras.KerasTensor:
    return image if scale == 1 else ResizeBy(scale, dtype="float32", name=f"image_{_word(scale)}")(image)


def _raised(scores: keras.KerasTensor, reference: keras.KerasTensor, scale: float) -> keras.KerasTensor:
    return ResizeLike(align_corners=True, name=f"raised_{_word(scale)}")([scores, reference])


def _word(scale: float) -> str:
    """`0.75` as `0_75`: a name that every format takes."""
    return f"{scale:g}".replace(".", "_")

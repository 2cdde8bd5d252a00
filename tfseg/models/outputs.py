"""What every network ends with: float32 logits, and where training asks for them the scores before the head."""

import keras


def functional(
    image: keras.KerasTensor, logits: keras.KerasTensor, scores: keras.KerasTensor | None = None
) -> keras.Model:
    """The model from `image` to `logits`, or to `{"logits", "scores"}` where `scores` are given.

    Outputs are float32 under every precision policy: a softmax in float16 saturates.
    """
    outputs = _float32(logits, "logits")
    if scores is not None:
        outputs = {"logits": outputs, "scores": _float32(scores, "scores")}
    return keras.Model(image, outputs)


def _float32(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.Activation("linear", dtype="float32", name=name)(x)

"""Networks with several outputs in training: which are trained, against what, and which one is kept.

Outputs are called as the training form of a network calls them: `logits`, of the image's size; `scores`, what the
decoder gave; `aux_…`, further scores. Metrics look at `logits`. What is saved has no other output.
"""

from typing import Any

import keras

from tfseg.losses.resolution import Resolution

LOGITS, SCORES, AUXILIARY = "logits", "scores", "aux_"


def pruned(model: keras.Model, resolution: Resolution, auxiliary_weight: float) -> keras.Model:
    """`model` with those outputs alone that a metric or a loss looks at; it shares all layers with `model`."""
    if not isinstance(model.output, dict):
        return model
    kept = {LOGITS, main(resolution), *(auxiliary(model) if auxiliary_weight else ())}
    outputs = {name: tensor for name, tensor in model.output.items() if name in kept}
    return keras.Model(model.input, outputs if len(outputs) > 1 else outputs[LOGITS], name=model.name)


def main(resolution: Resolution) -> str:
    """The output that the principal loss looks at."""
    return SCORES if resolution == "scores" else LOGITS


def auxiliary(model: keras.Model) -> tuple[str, ...]:
    """The outputs that have a loss of their own, beside the principal one."""
    names = model.output if isinstance(model.output, dict) else ()
    return tuple(name for name in names if name.startswith(AUXILIARY))


def kept(model: keras.Model) -> keras.Model:
    """`model`, or the network of one output that it shares all layers with: what is saved and shown."""
    output = model.output
    return keras.Model(model.input, output[LOGITS] if isinstance(output, dict) else output, name=model.name)


def for_each(model: keras.Model, value: Any) -> Any:
    """`value` in the structure of the outputs of `model`: the mask, where there are several, once for each."""
    return dict.fromkeys(model.output, value) if isinstance(model.output, dict) else value


def with_targets(batches: Any, model: keras.Model) -> Any:
    """A dataset of (image, mask) as `model.fit` takes it."""
    if not isinstance(model.output, dict):
        return batches
    return batches.map(lambda image, mask: (image, for_each(model, mask)))

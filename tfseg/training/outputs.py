"""Networks with several outputs in training: selection of outputs, targets, and the network to save.

The training form of a network has the outputs `logits` (of the size of the image), `scores` (of the decoder) and
`aux_…` (auxiliary scores). Metrics are computed on `logits`, the only output of saved networks.
"""

from typing import Any

import keras

from tfseg.losses.resolution import Resolution

LOGITS, SCORES, AUXILIARY = "logits", "scores", "aux_"


def pruned(model: keras.Model, resolution: Resolution, auxiliary_weight: float) -> keras.Model:
    """Returns `model` with only the outputs that have a metric or a loss. All layers are shared with `model`."""
    if not isinstance(model.output, dict):
        return model
    kept = {LOGITS, main(resolution), *(auxiliary(model) if auxiliary_weight else ())}
    outputs = {name: tensor for name, tensor in model.output.items() if name in kept}
    return keras.Model(model.input, outputs if len(outputs) > 1 else outputs[LOGITS], name=model.name)


def main(resolution: Resolution) -> str:
    """Returns the name of the output of the main loss."""
    return SCORES if resolution == "scores" else LOGITS


def auxiliary(model: keras.Model) -> tuple[str, ...]:
    """Returns the names of the auxiliary outputs."""
    names = model.output if isinstance(model.output, dict) else ()
    return tuple(name for name in names if name.startswith(AUXILIARY))


def single_output(model: keras.Model) -> keras.Model:
    """Returns the network to save and to predict with: `model` with the output `logits` only. All layers are shared."""
    output = model.output
    return keras.Model(model.input, output[LOGITS] if isinstance(output, dict) else output, name=model.name)


def for_each(model: keras.Model, value: Any) -> Any:
    """Returns a dict with `value` for each output of `model`, or `value` itself if there is only one output."""
    return dict.fromkeys(model.output, value) if isinstance(model.output, dict) else value


def with_targets(batches: Any, model: keras.Model) -> Any:
    """Returns a dataset for `model.fit`, in which the mask is the target of every output of `model`.

    Args:
        batches: Dataset of pairs `(image, mask)`.
        model: Network to be trained.
    """
    if not isinstance(model.output, dict):
        return batches
    return batches.map(lambda image, mask: (image, for_each(model, mask)))

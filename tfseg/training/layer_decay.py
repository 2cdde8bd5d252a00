"""Layer-wise decay of the learning rate in a pretrained backbone."""

import dataclasses
import re
from collections.abc import Sequence

import keras

from tfseg.training.contracts import OptimizerSpec

Stages = Sequence[Sequence[str]]
"""Names of the layers of each stage of the backbone, from shallow to deep."""


def with_layer_decay(optimizer: OptimizerSpec, stages: Stages, model: keras.Model) -> OptimizerSpec:
    """Returns the optimizer with learning rate multipliers for its `layer_decay`, multiplied by its own ones.

    Only stages with weights in `model` count, because a decoder may not read the deepest ones.
    """
    if optimizer.layer_decay == 1:
        return optimizer
    weighted = {weight.path.split("/")[0] for weight in model.weights}
    multipliers, used = dict(optimizer.lr_multipliers), [names for names in stages if weighted.intersection(names)]
    for pattern, factor in layer_multipliers(used, optimizer.layer_decay).items():
        multipliers[pattern] = multipliers.get(pattern, 1.0) * factor
    return dataclasses.replace(optimizer, lr_multipliers=multipliers)  # type: ignore[type-var]  # specs are dataclasses


def layer_multipliers(stages: Stages, decay: float) -> dict[str, float]:
    """Returns learning rate multipliers by regular expression: `decay` for the deepest stage, `decay ** 2` before it.

    >>> layer_multipliers((("conv1", "norm1"), ("conv2",)), 0.5)
    {'^(conv1|norm1)/': 0.25, '^(conv2)/': 0.5}

    Reference:
        Howard and Ruder, Universal Language Model Fine-tuning for Text Classification (2018), section 3.2; Bao et al.,
        BEiT: BERT Pre-Training of Image Transformers (2021), appendix.
    """
    return {
        f"^({'|'.join(map(re.escape, names))})/": decay ** (len(stages) - index) for index, names in enumerate(stages)
    }

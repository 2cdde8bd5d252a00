"""Layer-wise decay of the learning rate by the stages of a backbone."""

import re

import numpy as np
import pytest
import tensorflow as tf

from tests.training import toy
from tfseg.pipeline import load
from tfseg.spec.problems import SpecError
from tfseg.training import Training
from tfseg.training.layer_decay import layer_multipliers
from tfseg.training.lr_multipliers import learning_rate_factor
from tfseg.training.optimizers import Sgd

STAGES = (("image", "conv"), ("norm",), ("pool", "not in the network"))


def test_updates_are_scaled() -> None:
    """`norm` is the deepest stage with weights. The bias of `score` is outside the backbone, with a multiplier."""
    optimizer = Sgd(
        learning_rate=0.1, momentum=0.0, weight_decay=0.0, layer_decay=0.5, lr_multipliers={"bias$": 2.0, "^conv": 3.0}
    )
    training = Training(optimizer=optimizer, schedule="constant")
    model = toy.network()
    training.compile(model, toy.LABELS, steps_per_epoch=1, stages=STAGES)
    before = {weight.path: weight.numpy() for weight in model.trainable_weights}
    model.optimizer.apply([tf.ones_like(weight) for weight in model.trainable_weights])
    factors = {"conv/kernel": 0.75, "norm/gamma": 0.5, "norm/beta": 0.5, "score/kernel": 1.0, "score/bias": 2.0}
    assert factors.keys() == before.keys()
    for weight in model.trainable_weights:
        np.testing.assert_allclose(before[weight.path] - weight.numpy(), 0.1 * factors[weight.path], rtol=1e-4)


def test_multiplier_of_the_same_expression_is_multiplied() -> None:
    optimizer = Sgd(learning_rate=0.1, layer_decay=0.5, lr_multipliers={"^(norm)/": 4.0})
    model = toy.network()
    Training(optimizer=optimizer).compile(model, toy.LABELS, steps_per_epoch=1, stages=STAGES)
    assert model.optimizer.lr_multipliers == {r"^(norm)/": 2.0, r"^(image|conv)/": 0.25}


@pytest.mark.parametrize(
    ("backbone", "factors"),
    [
        ("vgg16", {"conv1_1": 6, "conv1_2": 6, "conv3_2": 4, "conv5_3": 2, "fc6": 1, "fc7": 1, "score": 0}),
        ("resnet", {"conv1_conv": 5, "conv2_block1_0_conv": 4, "conv4_block23_3_bn": 2, "conv5_block3_3_conv": 1}),
        ("small_cnn", {"stage1_down": 5, "stage3_mix_bn": 3, "stage5_mix": 1, "score": 0}),
    ],
)
def test_stages_of_backbones(backbone: str, factors: dict[str, int]) -> None:
    """The stem has the highest power of the decay, the deepest stage the first, the decoder none."""
    pipeline = load("shapes", (f"model.backbone={{type: {backbone}}}",))
    multipliers = layer_multipliers(pipeline.model.stage_layers, 0.5)
    for layer, power in factors.items():
        assert learning_rate_factor(f"{layer}/kernel", multipliers) == 0.5**power, layer
    layers = pipeline.model.backbone.layer_names(3) - {"input_layer"}
    assert set().union(*pipeline.model.stage_layers) - {"image"} == layers


def test_graph_without_backbone_is_rejected() -> None:
    graph = "model={type: graph, layers: [{layer: conv, name: score, filters: '${classes}', kernel_size: 1}]}"
    message = (
        "training.optimizer.layer_decay: a graph has no backbone with stages. Use lr_multipliers, or set layer_decay "
        "to 1. Received: 0.5"
    )
    with pytest.raises(SpecError, match=re.escape(message)):
        load("shapes", (graph, "training.optimizer={type: sgd, layer_decay: 0.5}"))
    assert load("shapes", (graph,)).model.stage_layers == ()

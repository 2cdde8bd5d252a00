"""Tiny instances of every backbone."""

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tests.checks import Given, SpecCase, layout
from tfseg.backbones import (
    AlexNet,
    Applications,
    ContractingPath,
    FullyConnected,
    GoogLeNet,
    MobileNetV2,
    Resnet,
    SmallCnn,
    Vgg16,
)
from tfseg.models.decoders import Fcn
from tfseg.symbolic import symbolically

FOLDER = tempfile.TemporaryDirectory()
WEIGHTS = Path(FOLDER.name, "weights.npz")
HALF = 0.5
"""Value of every weight in the initial weight file, which no initializer produces."""


def net(backbone: Any) -> list[Any]:
    """Returns the layers and stages of a backbone and the weights loaded from its file, as plain values."""

    def build() -> list[Any]:
        image = keras.Input((None, None, 3), name="image")
        stages = backbone(image).stages
        model = keras.Model(image, [stage.tensor for stage in stages])
        return [layout(model), [[stage.name, stage.stride] for stage in stages], filled(backbone, model)]

    return symbolically(build)


def filled(backbone: Any, model: keras.Model) -> list[str]:
    """Returns the weights that a file of halves fills, if the backbone has a weight file."""
    if backbone.weights is None:
        return []
    weights = {f"{layer.name}/{each.name}": each for layer in model.layers for each in layer.weights}
    np.savez(backbone.weights, **{name: np.full(each.shape, HALF) for name, each in weights.items()})
    backbone.load_weights(model)
    return [name for name, each in weights.items() if np.all(np.asarray(each.value) == HALF)]


def case(backbone: Any, changes: dict[str, Any]) -> SpecCase:
    """Returns the case of a backbone, with a decoder that supports each of its changes."""
    decoder = Fcn(strides=(8,), upsampling="deconv" if "form" in changes else "resize")
    return SpecCase(backbone, net, {**changes, "weights": WEIGHTS}, beside={"decoder": decoder})


CASES = [
    case(
        AlexNet(width_multiplier=0.02),
        {
            "type": Vgg16(width_multiplier=0.01),
            "form": "original",
            "width_multiplier": 0.05,
            "output_stride": 16,
            "dropout": 0.1,
        },
    ),
    case(
        Applications(name="MobileNet"),
        {"type": SmallCnn(filters=2), "name": "VGG16", "output_stride": 16},
    ),
    case(
        GoogLeNet(width_multiplier=0.02),
        {
            "type": AlexNet(width_multiplier=0.02),
            "form": "original",
            "width_multiplier": 0.05,
            "output_stride": 16,
            "average_pool": True,
            "dropout": 0.1,
        },
    ),
    case(
        ContractingPath(filters=2),
        {
            "type": SmallCnn(filters=2),
            "filters": 3,
            "batch_norm": True,
            "dropout": 0.1,
        },
    ),
    case(
        MobileNetV2(width_multiplier=0.1),
        {
            "type": SmallCnn(filters=2),
            "width_multiplier": 0.35,
            "divisor": 1,
            "output_stride": 16,
            "dilation": Given("early", {"output_stride": 16}),
            "normalize": "torch",
        },
    ),
    case(
        Resnet(depth=50, width_multiplier=0.02),
        {
            "type": SmallCnn(filters=2),
            "depth": 101,
            "width_multiplier": 0.05,
            "output_stride": 16,
            "multi_grid": (1, 2, 4),
            "dilation": Given("every_unit", {"stride_on": "3x3", "output_stride": 16}),
            "stem": "3x3",
            "stride_on": "3x3",
            "padding": "same",
            "activation": "swish",
            "normalize": "torch",
        },
    ),
    case(
        SmallCnn(filters=2),
        {"type": ContractingPath(filters=2), "filters": 3, "output_stride": 8},
    ),
    case(
        Vgg16(width_multiplier=0.01),
        {
            "type": AlexNet(width_multiplier=0.02),
            "form": "original",
            "output_stride": 8,
            "width_multiplier": 0.02,
            "pool5a": Given(True, {"form": "deeplab", "output_stride": 8}),
            "fc": None,
            "dropout": 0.1,
            "batch_norm": True,
            "shift": Given(0.5, {"batch_norm": True}),
            "indices": True,
            "mc_dropout": "all",
        },
    ),
    SpecCase(
        FullyConnected(filters=100),
        lambda fc: net(Vgg16(width_multiplier=0.01, fc=fc)),
        {"kernel_size": 3, "dilation_rate": 2, "filters": 300},
    ),
]

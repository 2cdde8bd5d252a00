"""Every backbone, tiny."""

from typing import Any

import keras

from tests.checks import Given, SpecCase
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


def net(backbone: Any) -> list[Any]:
    """Its layers and stages, in plain values."""
    image = keras.Input((None, None, 3), name="image")
    stages = backbone(image).stages
    model = keras.Model(image, [stage.tensor for stage in stages])
    layers = [[type(layer).__name__, str(layer.get_config())] for layer in model.layers]
    return [layers, [[stage.name, stage.stride, stage.tensor.shape[-1]] for stage in stages]]


WEIGHTS = {"weights": "test_weights_come_back"}

CASES = [
    SpecCase(
        AlexNet(width=0.02),
        net,
        {"form": "original", "width": 0.05, "output_stride": 16, "dropout": 0.1},
        WEIGHTS,
    ),
    SpecCase(
        Applications(name="MobileNet"),
        net,
        {"name": "VGG16", "output_stride": 16, "momentum": 0.99},
        WEIGHTS,
    ),
    SpecCase(
        GoogLeNet(width=0.02),
        net,
        {"form": "original", "width": 0.05, "output_stride": 16, "average_pool": True, "dropout": 0.1},
        WEIGHTS,
    ),
    SpecCase(
        ContractingPath(width=2),
        net,
        {"width": 3, "batch_norm": True, "momentum": Given(0.99, {"batch_norm": True}), "dropout": 0.1},
        WEIGHTS,
    ),
    SpecCase(
        MobileNetV2(alpha=0.1),
        net,
        {
            "alpha": 0.35,
            "divisor": 1,
            "output_stride": 16,
            "dilation": Given("early", {"output_stride": 16}),
            "normalize": "torch",
            "momentum": 0.99,
        },
        WEIGHTS,
    ),
    SpecCase(
        Resnet(depth=50, width=0.02),
        net,
        {
            "depth": 101,
            "width": 0.05,
            "output_stride": 16,
            "multi_grid": (1, 2, 4),
            "dilation": Given("every_unit", {"stride_on": "3x3", "output_stride": 16}),
            "stem": "3x3",
            "stride_on": "3x3",
            "padding": "same",
            "activation": "swish",
            "normalize": "torch",
            "momentum": 0.99,
            "epsilon": 1e-3,
        },
        WEIGHTS,
    ),
    SpecCase(SmallCnn(width=2), net, {"width": 3, "output_stride": 8, "momentum": 0.99}, WEIGHTS),
    SpecCase(
        Vgg16(width=0.01),
        net,
        {
            "form": "original",
            "output_stride": 8,
            "width": 0.02,
            "pool5a": Given(True, {"form": "deeplab", "output_stride": 8}),
            "fc": None,
            "dropout": 0.1,
            "batch_norm": True,
            "momentum": Given(0.99, {"batch_norm": True}),
            "epsilon": Given(1e-9, {"batch_norm": True}),
            "shift": Given(0.5, {"batch_norm": True}),
            "indices": True,
            "mc_dropout": "all",
        },
        WEIGHTS,
    ),
    SpecCase(
        FullyConnected(filters=100), lambda fc: net(Vgg16(width=0.01, fc=fc)), {"kernel": 3, "rate": 2, "filters": 300}
    ),
]

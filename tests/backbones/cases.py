"""Every backbone, tiny."""

from typing import Any

import keras

from tests.checks import SpecCase
from tfseg.backbones import MobileNetV2, SmallCnn, Vgg16


def net(backbone: Any) -> list[Any]:
    """Its layers and stages, in plain values."""
    image = keras.Input((None, None, 3), name="image")
    stages = backbone(image).stages
    model = keras.Model(image, [stage.tensor for stage in stages])
    layers = [[type(layer).__name__, str(layer.get_config())] for layer in model.layers]
    return [layers, [[stage.name, stage.stride, stage.tensor.shape[-1]] for stage in stages]]


WEIGHTS = {"weights": "test_weights_come_back"}

CASES = [
    SpecCase(MobileNetV2(alpha=0.1), net, {"alpha": 0.35, "output_stride": 16, "momentum": 0.99}, WEIGHTS),
    SpecCase(SmallCnn(width=2), net, {"width": 3, "output_stride": 8, "momentum": 0.99}, WEIGHTS),
    SpecCase(Vgg16(width=0.01), net, {"form": "original", "width": 0.02, "dropout": 0.1}, WEIGHTS),
]

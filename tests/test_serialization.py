"""Tests of Keras objects with former names of classes and arguments."""

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfseg import layers, losses, metrics
from tfseg.serialization import ARGUMENTS, CLASSES
from tfseg.training import lr_multipliers
from tfseg.training.schedules import PerOptimizerStep

DECAY = keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0)
OBJECTS = {
    "AdamW": lambda: lr_multipliers.AdamW(0.1, lr_multipliers={"score": 2.0}, no_weight_decay=("x",)),
    "SGD": lambda: lr_multipliers.SGD(0.1, lr_multipliers={"score": 2.0}, no_weight_decay=("x",)),
    "BoundaryIoU": lambda: metrics.BoundaryIoU(num_classes=3),
    "SegmentationMetrics": lambda: metrics.SegmentationMetrics(num_classes=3),
    "TrimapMeanIoU": lambda: metrics.TrimapMeanIoU(num_classes=3),
    "DilatedContext": lambda: layers.DilatedContext(num_classes=3, dilation_rates=(1, 2)),
    "ParallelAtrousClassifier": lambda: layers.ParallelAtrousClassifier(num_classes=3, rates=(1,), filters=4),
    "PerOptimizerStep": lambda: PerOptimizerStep(DECAY, gradient_accumulation_steps=2),
}


def renamed_back(config: Any) -> Any:
    """Returns a config with the former names."""
    if isinstance(config, list):
        return [renamed_back(each) for each in config]
    if not isinstance(config, dict):
        return config
    config = {key: renamed_back(value) for key, value in config.items()}
    if (name := config.get("class_name")) in ARGUMENTS:
        old = {new: former for former, new in ARGUMENTS[name].items()}
        config["config"] = {old.get(key, key): value for key, value in config["config"].items()}
        former = CLASSES.get(name, name)
        config.update(class_name=former, registered_name=f"tfseg>{former}", module="tfseg.an_earlier_module")
    return config


def test_every_renamed_class_has_a_case() -> None:
    assert OBJECTS.keys() == ARGUMENTS.keys() and CLASSES.keys() <= ARGUMENTS.keys()


@pytest.mark.parametrize("name", OBJECTS)
def test_earlier_config_loads(name: str) -> None:
    found = OBJECTS[name]()
    config = keras.saving.serialize_keras_object(found)
    old = renamed_back(config)
    assert json.dumps(old) != json.dumps(config) and not set(ARGUMENTS[name].values()) & set(old["config"])
    again = keras.saving.deserialize_keras_object(old)
    assert type(again) is type(found) and again.get_config() == found.get_config()


@pytest.mark.parametrize("name", OBJECTS)
def test_constructor_with_former_argument(name: str) -> None:
    kind = type(OBJECTS[name]())
    for old, new in ARGUMENTS[name].items():
        with pytest.raises(TypeError) as error:
            kind(**{old: 3})
        assert str(error.value) == f"{name}() has no argument `{old}`: it was renamed to `{new}`. Received: {old}=3"


class Inherited(metrics.SegmentationMetrics):
    """Subclass with the constructor of its base class."""


class Own(metrics.SegmentationMetrics):
    """Subclass whose constructor has an argument with a former name."""

    def __init__(self, classes: int = 2, **options: Any) -> None:
        super().__init__(num_classes=classes, **options)

    def get_config(self) -> dict[str, Any]:
        return {"classes": self.num_classes, "name": self.name}


def test_subclasses() -> None:
    assert Inherited.from_config({"classes": 3, "name": "x"}).num_classes == 3
    assert Own.from_config(Own(classes=3).get_config()).num_classes == 3


def test_earlier_model_file_loads(tmp_path: Path) -> None:
    """Checks weights, optimizer and metrics of a file whose config has the former names."""
    image = keras.Input((None, None, 4))
    x = layers.ParallelAtrousClassifier(3, rates=(1, 2), filters=5, name="head")(image)
    model = keras.Model(image, layers.DilatedContext(3, dilation_rates=(1, 1), name="context")(x))
    model.compile(
        OBJECTS["SGD"](), losses.CrossEntropy(), metrics=[OBJECTS["SegmentationMetrics"]()], auto_scale_loss=False
    )
    batch = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype("float32")
    model.fit(batch, np.zeros((2, 8, 8), "int32"), verbose=0)
    model.save(tmp_path / "new.keras")
    with zipfile.ZipFile(tmp_path / "new.keras") as new, zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        for name in new.namelist():
            content = new.read(name)
            if name == "config.json":
                content = json.dumps(renamed_back(json.loads(content))).encode()
                assert b"num_classes" not in content and b"lr_multipliers" not in content
            old.writestr(name, content)
    again = keras.models.load_model(tmp_path / "old.keras")
    np.testing.assert_array_equal(again(batch), model(batch))
    assert again.optimizer.lr_multipliers == {"score": 2.0}
    assert again.optimizer.get_config() == model.optimizer.get_config()

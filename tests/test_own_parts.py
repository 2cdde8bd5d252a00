"""Errors in custom components are reported as messages, each with its key."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import keras
import pytest
import tensorflow as tf

import tfseg
from tests.models.conftest import LABELS
from tfseg.backbones import SmallCnn
from tfseg.context import Context
from tfseg.data.augment import View, augmented
from tfseg.errors import DataError, RunError
from tfseg.models import ModelError, Segmenter
from tfseg.models.decoders import Fcn
from tfseg.models.decoders.decoder import Decoder
from tfseg.models.heads import Head
from tfseg.models.refine import Refinement
from tfseg.models.reloading import reloading_problems
from tfseg.spec.declare import spec
from tfseg.spec.problems import component_problems
from tfseg.training.contracts import RATES, construct

PARTS = {"backbone": SmallCnn(filters=2), "decoder": Fcn(strides=(16,))}


def network(**own: object) -> Segmenter:
    """Returns a network with custom parts, without a plugin."""
    model = Segmenter(**PARTS)
    for slot, part in own.items():
        object.__setattr__(model, slot, part)
    return model


@spec
class OwnDecoder(Decoder):
    """Custom part whose behavior a test sets."""

    type: Literal["own"] = "own"
    call: Any = None
    answer: Any = None

    def __call__(self, features: Any, image: Any, classes: int) -> Any:
        return self.call(features, image, classes)

    @property
    def head(self) -> Any:
        return self.answer


@spec
class OwnHead(Head):
    """Custom part whose behavior a test sets."""

    type: Literal["own"] = "own"
    call: Any = None

    def __call__(self, *given: Any) -> Any:
        return self.call(*given)


@spec
class OwnRefinement(Refinement):
    """Custom part whose behavior a test sets."""

    type: Literal["own"] = "own"
    call: Any = None

    def __call__(self, *given: Any) -> Any:
        return self.call(*given)


def failing(*_: object) -> None:
    raise KeyError("pool9")


@pytest.mark.parametrize(
    ("slot", "part", "reason"),
    [
        ("decoder", OwnDecoder(call=failing), "KeyError: 'pool9'"),
        (
            "decoder",
            OwnDecoder(call=lambda features, image, classes: keras.layers.Conv2D(classes + 1, 1)(image)),
            "ValueError: expected scores [batch, height, width, 3]. Received: [None, None, None, 4]",
        ),
        (
            "head",
            OwnHead(call=lambda scores, padded, image, stride: None),
            "ValueError: expected scores [batch, height, width, 3]. Received: None",
        ),
        ("refine", OwnRefinement(call=failing), "KeyError: 'pool9'"),
    ],
)
def test_parts_that_cannot_be_built_are_reported(slot: str, part: Any, reason: str) -> None:
    with pytest.raises(ModelError) as caught:
        network(**{slot: part}).build(LABELS)
    message = f"own failed to build ({reason}). Correct it, or use another one"
    assert caught.value.problems == ((("model", slot), message),)
    assert str(caught.value) == f"model.{slot}: {message}"


def test_unknown_heads_are_reported() -> None:
    decoder = OwnDecoder(call=failing, answer="nope")
    [(path, message)] = network(decoder=decoder).problems(Context(LABELS, 3))
    assert path == ("decoder",)
    assert message == (
        "own requires an unknown head; expected crop, interp, resize, resize_corners, zoom, or None. Received: 'nope'"
    )


class Component:
    """Component whose `problems` a test sets."""

    def __init__(self, problems: Callable[[], Any]) -> None:
        self.problems = problems


EXPECTED = 'Expected pairs of a path, such as ("width",), and a message'


@pytest.mark.parametrize(
    ("problems", "found"),
    [
        (lambda: [(("width",), "too wide")], [(("width",), "too wide")]),
        (lambda: [("fc.dilation_rate", "too wide")], [(("fc", "dilation_rate"), "too wide")]),
        (lambda: ["too wide"], [((), f"`problems` returns 'too wide'. {EXPECTED}")]),
        (lambda: None, [((), f"`problems` raises TypeError: 'NoneType' object is not iterable. {EXPECTED}")]),
        (failing, [((), f"`problems` raises KeyError: 'pool9'. {EXPECTED}")]),
    ],
)
def test_invalid_results_of_problems_are_reported(problems: Callable[[], Any], found: list[Any]) -> None:
    assert list(component_problems(Component(problems))) == found


def test_results_of_training_components_are_checked() -> None:
    part = OwnDecoder(call=failing)
    with pytest.raises(RunError) as caught:
        construct("loss", keras.losses.Loss, part, 1, 2, 3)
    assert str(caught.value) == ("training.loss: own failed (KeyError: 'pool9'). Correct it, or use another one")
    with pytest.raises(RunError) as caught:
        construct("schedule", RATES, OwnDecoder(call=lambda *_: "fast"), 1, 2, 3)
    assert str(caught.value) == (
        "training.schedule: own must return int or float or LearningRateSchedule. Received: 'fast'"
    )


def test_errors_of_tfseg_are_not_wrapped() -> None:
    """A loss that counts classes reads masks and can raise a DataError."""

    def counting(*_: object) -> None:
        raise DataError("a.png: cannot be decoded")

    with pytest.raises(DataError, match=r"^a\.png: cannot be decoded$"):
        construct("loss", keras.losses.Loss, OwnDecoder(call=counting), 1, 2, 3)


class Op:
    """Custom augmentation."""

    BEFORE_CROP = False
    type = "own"

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call

    def __call__(self, image: tf.Tensor, mask: tf.Tensor, key: tf.Tensor, view: View) -> Any:
        return self.call(image, mask)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (failing, "data.augment: own fails (KeyError: 'pool9')"),
        (
            lambda image, mask: (tf.cast(image, tf.float32) / 255, mask),
            "data.augment: own must return an image, uint8 [height, width, 3], and a mask, integer [height, width]. "
            "Received: (<tf.Tensor",
        ),
        (
            lambda image, mask: (image[..., :1], mask),
            "data.augment: own must return an image, uint8 [height, width, 3]",
        ),
        (lambda image, mask: image, "data.augment: own must return an image, uint8 [height, width, 3], and a mask"),
    ],
)
def test_invalid_augmentations_are_reported(call: Callable[..., Any], message: str) -> None:
    image, mask = tf.zeros([4, 4, 3], tf.uint8), tf.zeros([4, 4], tf.int32)
    with pytest.raises(DataError) as caught:
        augmented(image, mask, tf.constant([0, 0], tf.int64), (Op(call),), View(255))
    assert str(caught.value).startswith(message)


@keras.saving.register_keras_serializable(package="tests")
class Forgetful(keras.layers.Layer):
    """A layer whose `get_config` lacks its arguments."""

    def __init__(self, factor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: Any) -> Any:
        return x * self.factor

    def get_config(self) -> dict[str, Any]:
        return super().get_config()


class Unregistered(keras.layers.Layer):
    """A layer that is not registered with Keras."""

    def call(self, x: Any) -> Any:
        return x


def test_networks_that_cannot_be_reloaded_are_reported() -> None:
    image = keras.Input((None, None, 3))
    assert not list(reloading_problems(keras.Model(image, Forgetful(name="kept")(image))))
    [(path, message)] = reloading_problems(keras.Model(image, Forgetful(0.5, name="half")(image)))
    assert path == ()
    assert message == "saving and reloading loses attributes of layer 'half': factor. Return them from its get_config"
    [(_, message)] = reloading_problems(keras.Model(image, Unregistered()(image)))
    assert message.startswith("the network cannot be reloaded after saving (")
    assert message.endswith("). Register its layers, and implement their get_config")
    [(_, message)] = reloading_problems(keras.Model(image, keras.layers.Lambda(lambda x: x)(image)))
    assert "Lambda" in message or "lambda" in message


PLUGIN = """\
import dataclasses
from typing import Literal

import keras


@dataclasses.dataclass(frozen=True)
class Plain:
    type: Literal["plain"] = "plain"

    def __call__(self, features, image, classes):
        return image


class softcap(keras.layers.Layer):
    pass


class Bare(keras.layers.Layer):
    def call(self, x):
        return x


keras.saving.register_keras_serializable(package="tests")(Bare)
COMPONENTS = {"decoder": [Plain]} if WHICH == 1 else {"layers": [softcap]} if WHICH == 2 else {"layers": [Bare]}
"""


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (1, 'slot "decoder": Plain is not a spec: decorate it with @spec of tfseg.spec instead of @dataclass'),
        (2, 'slot "layers": softcap has no capital letter in its name, from which its name in a file is derived'),
        (3, ""),
    ],
)
def test_invalid_components_of_plugins_are_reported(
    which: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer without arguments of its own needs no `get_config`."""
    name = f"own_parts_{which}"
    (tmp_path / f"{name}.py").write_text(f"WHICH = {which}\n{PLUGIN}")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a.yaml").write_text(
        f"include: {Path(tfseg.__file__).parents[1]}/pipelines/shapes.yaml\nplugins: [{name}]\n"
    )
    if not message:
        tfseg.load(tmp_path / "a.yaml", allow_plugins=True)
        return
    with pytest.raises(tfseg.SpecError) as caught:
        tfseg.load(tmp_path / "a.yaml", allow_plugins=True)
    assert message in str(caught.value)


def test_plugins_that_cannot_be_imported_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leaves_at_once.py").write_text("import sys\nsys.exit(4)\n")
    monkeypatch.syspath_prepend(tmp_path)
    for module, words in (
        ("nowhere_at_all", "install it, or add its folder to PYTHONPATH"),
        ("leaves_at_once", 'cannot import "leaves_at_once": SystemExit: 4'),
    ):
        with pytest.raises(tfseg.SpecError) as caught:
            tfseg.load("shapes", [f"plugins=[{module}]"], allow_plugins=True)
        assert words in str(caught.value)

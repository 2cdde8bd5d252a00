"""Parts of a user's own that are wrong end in words, each at its key."""

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
from tfseg.data.augment import View, changed
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
    """A network with parts that no file could name without a plug-in."""
    model = Segmenter(**PARTS)
    for slot, part in own.items():
        object.__setattr__(model, slot, part)
    return model


@spec
class OwnDecoder(Decoder):
    """Whatever a test makes of it."""

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
    """Whatever a test makes of it."""

    type: Literal["own"] = "own"
    call: Any = None

    def __call__(self, *given: Any) -> Any:
        return self.call(*given)


@spec
class OwnRefinement(Refinement):
    """Whatever a test makes of it."""

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
            OwnHead(call=lambda scores, seen, image, stride: None),
            "ValueError: expected scores [batch, height, width, 3]. Received: None",
        ),
        ("refine", OwnRefinement(call=failing), "KeyError: 'pool9'"),
    ],
)
def test_a_part_that_cannot_be_built(slot: str, part: Any, reason: str) -> None:
    with pytest.raises(ModelError) as caught:
        network(**{slot: part}).build(LABELS)
    message = f"own cannot be built into this network ({reason}). Correct it, or take another one"
    assert caught.value.faults == ((("model", slot), message),)
    assert str(caught.value) == f"model.{slot}: {message}"


def test_a_head_that_there_is_not() -> None:
    decoder = OwnDecoder(call=failing, answer="nope")
    [(path, message)] = network(decoder=decoder).problems(Context(LABELS, 3))
    assert path == ("decoder",)
    assert message == (
        "own asks for no head that there is: crop, interp, resize, resize_corners, zoom, or None. Received: 'nope'"
    )


class Says:
    """Says what a test lets it."""

    def __init__(self, says: Callable[[], Any]) -> None:
        self.problems = says


EXPECTED = 'Expected pairs of a path, such as ("width",), and a message'


@pytest.mark.parametrize(
    ("says", "found"),
    [
        (lambda: [(("width",), "too wide")], [(("width",), "too wide")]),
        (lambda: [("fc.dilation_rate", "too wide")], [(("fc", "dilation_rate"), "too wide")]),
        (lambda: ["too wide"], [((), f"`problems` returns 'too wide'. {EXPECTED}")]),
        (lambda: None, [((), f"`problems` raises TypeError: 'NoneType' object is not iterable. {EXPECTED}")]),
        (failing, [((), f"`problems` raises KeyError: 'pool9'. {EXPECTED}")]),
    ],
)
def test_problems_that_are_told_wrongly(says: Callable[[], Any], found: list[Any]) -> None:
    assert list(component_problems(Says(says))) == found


def test_what_a_training_makes_is_looked_at() -> None:
    part = OwnDecoder(call=failing)
    with pytest.raises(RunError) as caught:
        construct("loss", keras.losses.Loss, part, 1, 2, 3)
    assert str(caught.value) == ("training.loss: own fails (KeyError: 'pool9'). Correct it, or take another one")
    with pytest.raises(RunError) as caught:
        construct("schedule", RATES, OwnDecoder(call=lambda *_: "fast"), 1, 2, 3)
    assert str(caught.value) == (
        "training.schedule: own must make a int or float or LearningRateSchedule. Received: 'fast'"
    )


def test_what_is_said_in_words_already_stays() -> None:
    """Counting classes, a loss reads masks."""

    def counting(*_: object) -> None:
        raise DataError("a.png: cannot be decoded")

    with pytest.raises(DataError, match=r"^a\.png: cannot be decoded$"):
        construct("loss", keras.losses.Loss, OwnDecoder(call=counting), 1, 2, 3)


class Op:
    """An augmentation of a user's own."""

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
            "data.augment: own must return an image, uint8 [height, width, 3], and a mask, int32 [height, width]. "
            "Received: (<tf.Tensor",
        ),
        (
            lambda image, mask: (image[..., :1], mask),
            "data.augment: own must return an image, uint8 [height, width, 3]",
        ),
        (lambda image, mask: image, "data.augment: own must return an image, uint8 [height, width, 3], and a mask"),
    ],
)
def test_augmentations(call: Callable[..., Any], message: str) -> None:
    image, mask = tf.zeros([4, 4, 3], tf.uint8), tf.zeros([4, 4], tf.int32)
    with pytest.raises(DataError) as caught:
        changed(image, mask, tf.constant([0, 0], tf.int64), (Op(call),), View(255))
    assert str(caught.value).startswith(message)


@keras.saving.register_keras_serializable(package="tests")
class Forgetful(keras.layers.Layer):
    """Its `get_config` lacks what it was made with."""

    def __init__(self, factor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: Any) -> Any:
        return x * self.factor

    def get_config(self) -> dict[str, Any]:
        return super().get_config()


class Unregistered(keras.layers.Layer):
    """Keras does not know it."""

    def call(self, x: Any) -> Any:
        return x


def test_networks_that_could_not_be_loaded_again() -> None:
    image = keras.Input((None, None, 3))
    assert not list(reloading_problems(keras.Model(image, Forgetful(name="kept")(image))))
    [(path, message)] = reloading_problems(keras.Model(image, Forgetful(0.5, name="half")(image)))
    assert path == ()
    assert message == ("factor of layer 'half' is another once it is saved and loaded; return it by get_config")
    [(_, message)] = reloading_problems(keras.Model(image, Unregistered()(image)))
    assert message.startswith("the network could not be loaded again once it is saved (")
    assert message.endswith("). Register its layers, and give them get_config")
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
        (2, 'slot "layers": softcap has no capital letter in its name, of which the word in a file is made'),
        (3, ""),
    ],
)
def test_components(which: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer that takes nothing of its own needs no `get_config`."""
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


def test_modules_that_are_not_found_or_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leaves_at_once.py").write_text("import sys\nsys.exit(4)\n")
    monkeypatch.syspath_prepend(tmp_path)
    for module, words in (
        ("nowhere_at_all", "install it, or add its folder to PYTHONPATH"),
        ("leaves_at_once", 'cannot import "leaves_at_once": SystemExit: 4'),
    ):
        with pytest.raises(tfseg.SpecError) as caught:
            tfseg.load("shapes", [f"plugins=[{module}]"], allow_plugins=True)
        assert words in str(caught.value)

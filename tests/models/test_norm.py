"""Normalization of a whole network, set by `model.norm`."""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.conftest import LABELS
from tfseg.backbones import Applications, ContractingPath, MobileNetV2, Resnet, SmallCnn, Vgg16
from tfseg.context import Context
from tfseg.keras_internals import layers_within
from tfseg.layers import BatchNormalization
from tfseg.models import ModelError, Norm, Segmenter
from tfseg.models.decoders import DeconvNet, DeepLabV3, DeepLabV3Plus, Fcn, PspNet, SegNet, Unet
from tfseg.pipeline import load
from tfseg.spec.problems import SpecError
from tfseg.symbolic import symbolically
from tfseg.training import Training

UNPOOLED = Vgg16(width_multiplier=1 / 32, batch_norm=True, indices=True, fc=None)
NETWORKS = {
    "fcn": (SmallCnn(filters=4), Fcn(strides=(16, 8), filters=8)),
    "unet": (ContractingPath(filters=4, batch_norm=True), Unet(batch_norm=True)),
    "pspnet": (Resnet(depth=50, width_multiplier=1 / 16), PspNet(filters=8, bins=(1, 2))),
    "deeplab_v3": (MobileNetV2(width_multiplier=0.35), DeepLabV3(filters=8, rates=(1,), separable=True)),
    "deeplab_v3_plus": (Applications(name="MobileNetV3Small"), DeepLabV3Plus(filters=8, rates=(1,))),
    "segnet": (UNPOOLED, SegNet()),
    "deconvnet": (UNPOOLED, DeconvNet(filters=8)),
}
"""Networks with all normalized layers."""


def norms(model: keras.Model) -> Iterator[keras.layers.Layer]:
    kinds = (keras.layers.BatchNormalization, keras.layers.GroupNormalization)
    return (layer for layer in layers_within(model) if isinstance(layer, kinds))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_normalization_layer_follows_the_setting(name: str) -> None:
    """Layer names stay the same; types, momentum and epsilon are those of the setting."""
    backbone, decoder = NETWORKS[name]

    def built(**norm: object) -> list[keras.layers.Layer]:
        parts = {"backbone": backbone, "decoder": decoder, "norm": Norm(**norm)}
        return list(norms(symbolically(lambda: Segmenter(**parts).build(LABELS, training=True))))

    published, custom = built(), built(momentum=0.7, epsilon=0.25)
    grouped = built(type="group", groups=1, epsilon=0.25)
    assert published and {type(each) for each in published} == {BatchNormalization}
    assert {each.momentum for each in published} == {0.9}
    assert {(each.momentum, each.epsilon) for each in custom} == {(0.7, 0.25)}
    assert {(type(each), each.groups, each.epsilon) for each in grouped} == {(keras.layers.GroupNormalization, 1, 0.25)}
    assert [each.name for each in published] == [each.name for each in custom] == [each.name for each in grouped]


def test_backbone_and_decoder_have_separate_settings() -> None:
    norm = Norm(momentum={"backbone": 0.5}, epsilon={"backbone": 0.25, "decoder": 0.125})
    model = Segmenter(backbone=SmallCnn(filters=2), decoder=Fcn(strides=(16,), filters=2), norm=norm).build(LABELS)
    found = {(each.name.startswith("stage"), each.momentum, each.epsilon) for each in norms(model)}
    assert found == {(True, 0.5, 0.25), (False, 0.9, 0.125)}


def test_default_epsilons_are_the_published_ones() -> None:
    """Without `norm.epsilon`, every network has its published epsilon."""
    parts = {"resnet": Resnet(depth=50, width_multiplier=1 / 64), "mobilenet_v2": MobileNetV2(width_multiplier=0.1)}
    for name, backbone in parts.items():
        spec = Segmenter(backbone=backbone, decoder=DeepLabV3(filters=2))
        model = symbolically(lambda spec=spec: spec.build(LABELS))
        inside = {each.epsilon for each in norms(model.get_layer("aspp"))}
        assert inside == {1e-5}
        assert {each.epsilon for each in norms(model)} - inside == {"resnet": set(), "mobilenet_v2": {1e-3}}[name]


GROUPED = Segmenter(
    backbone=SmallCnn(filters=4), decoder=DeepLabV3(filters=8, rates=(1,)), norm=Norm(type="group", groups=4)
)


def test_network_with_group_norm_can_be_saved_and_loaded(tmp_path: Path) -> None:
    model = GROUPED.build(LABELS)
    model.save(tmp_path / "model.keras")
    image = np.random.default_rng(0).integers(0, 256, (1, 40, 33, 3)).astype(np.uint8)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(image), model(image))
    assert {type(each) for each in norms(loaded)} == {keras.layers.GroupNormalization}


def test_group_norm_outputs_do_not_depend_on_the_batch() -> None:
    model = GROUPED.build(LABELS)
    images = np.random.default_rng(0).integers(0, 256, (2, 33, 33, 3)).astype(np.uint8)
    together = model(images, training=False)
    np.testing.assert_allclose(together[:1], model(images[:1]), atol=1e-5)


def test_groups_must_divide_the_channels() -> None:
    """The backbone is checked when the file is read, the decoder when the network is built."""
    message = "must divide the number of channels of every normalized layer; the input of {} has {}. Received: {}"
    spec = Segmenter(backbone=SmallCnn(filters=6), decoder=Fcn(strides=(16,)), norm=Norm(type="group", groups=4))
    assert list(spec.problems(Context(LABELS, 3))) == [(("norm", "groups"), message.format("stage1_down_bn", 6, 4))]
    decoder = Fcn(strides=(16,), filters=6)
    with pytest.raises(ModelError) as error:
        Segmenter(backbone=SmallCnn(filters=4), decoder=decoder, norm=Norm(type="group", groups=4)).build(LABELS)
    assert str(error.value) == f"model.norm.groups: {message.format('lateral_stage5_bn', 6, 4)}"


def test_pretrained_weights_do_not_fit_group_norm() -> None:
    """Weights of a file are checked when it is read: they may come from a network with group normalization."""

    def problems(weights: object) -> list[tuple[tuple[str, ...], str]]:
        parts = {"decoder": Fcn(), "norm": Norm(type="group", groups=4)}
        return list(Segmenter(backbone=MobileNetV2(weights=weights), **parts).problems(Context(LABELS, 3)))

    assert problems("imagenet") == [
        (
            ("norm", "type"),
            "the pretrained weights of mobilenet_v2 were trained with batch normalization. Set type to batch, or "
            "model.backbone.weights to null. Received: group",
        )
    ]
    assert problems(Path("weights.npz")) == []
    plain = Vgg16(width_multiplier=1.0, weights="imagenet")
    assert not list(Segmenter(backbone=plain, decoder=Fcn(), norm=Norm(type="group")).problems(Context(LABELS, 3)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"type": "group", "momentum": 0.9},
            "momentum: group normalization keeps no moving averages; set momentum to null, or type to batch. "
            "Received: 0.9",
        ),
        ({"groups": 8}, "groups: requires type group. Set type to group, or remove groups. Received: 8, type=batch"),
        (
            {"momentum": {"head": 0.9}},
            'momentum.head: expected one of "backbone", "decoder" as the key; received "head"',
        ),
    ],
)
def test_invalid_fields_are_rejected(fields: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as error:
        Norm(**fields)
    assert [f"{each.path}: {each.message}" for each in error.value.problems] == [message]


def test_options_that_require_batch_norm_are_reported() -> None:
    model = GROUPED.build(LABELS, training=True)
    why = (
        "the network has no batch normalization but group normalization (stage1_down_bn, stage1_mix_bn, "
        "stage2_down_bn, …, pooling_norm, atrous_1_norm, pointwise_norm), which has no moving statistics"
    )
    frozen, measured = Training(batch_norm="frozen"), Training(batch_norm_batches=3)
    assert list(frozen.network_problems(model)) == [
        (("batch_norm",), f"{why}. Received: frozen. Set batch_norm to train")
    ]
    assert list(measured.network_problems(model)) == [
        (("batch_norm_batches",), f"{why}. Received: 3. Set batch_norm_batches to 0")
    ]
    other = Segmenter(backbone=SmallCnn(filters=4), decoder=Fcn(strides=(16,))).build(LABELS, training=True)
    assert not list(frozen.network_problems(other))


def test_group_norm_has_gradients() -> None:
    keras.utils.set_random_seed(0)
    model = GROUPED.build(LABELS)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(np.full((1, 33, 33, 3), 9.0, np.float32), training=True) - 1.0))
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    assert all(gradient is not None for gradient in gradients)
    assert not model.non_trainable_weights


def test_settings_that_no_layer_uses_are_reported() -> None:
    def problems(**norm: object) -> list[tuple[tuple[str, ...], str]]:
        spec = Segmenter(backbone=Vgg16(width_multiplier=1 / 64), decoder=Fcn(), norm=Norm(**norm))
        return list(spec.network_problems(symbolically(lambda: spec.build(LABELS))))

    why = "no layer of this network uses it"
    assert problems() == []
    assert problems(momentum=0.5) == [(("norm", "momentum"), f"{why}. Received: 0.5. Leave it out")]
    assert problems(type="group", groups=1) == [
        (
            ("norm", "type"),
            f"{why}. Received: group. Leave it out, or build layers with tfseg.layers.norm.normalized",
        )
    ]
    used = Segmenter(backbone=SmallCnn(filters=2), decoder=Fcn(strides=(16,)), norm=Norm(momentum=0.5, epsilon=0.25))
    assert not list(used.network_problems(used.build(LABELS)))


def test_type_can_be_given_without_a_map() -> None:
    assert load("shapes", ["model.norm=group", "model.norm.groups=8"]).model.norm == Norm(type="group", groups=8)

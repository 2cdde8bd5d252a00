"""Dilation rates and pooling windows that exceed the feature map of a crop are rejected before training."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tests.models.conftest import LABELS
from tfseg.backbones import Resnet, SmallCnn, Vgg16
from tfseg.context import Context
from tfseg.layers import AtrousConv2D
from tfseg.models import Segmenter
from tfseg.models.backbone_features import backbone_features, extends_beyond_image
from tfseg.models.decoders import DeepLabV3, DeepLabV3Plus, Fcn, PspNet
from tfseg.pipeline import load
from tfseg.shipped import shipped
from tfseg.spec.problems import SpecError


def test_rates_that_exceed_the_feature_map_are_rejected() -> None:
    with pytest.raises(SpecError) as caught:
        load("deeplab_v2_resnet101_voc", ["model.decoder.rates=[6, 12, 41]"])
    assert [line.partition(": ")[2] for line in str(caught.value).splitlines()] == [
        "model.decoder.rates: on crops of 321 the feature map of output stride 8 is only 41x41, where a 3x3 "
        "convolution of rate 41 or more uses only its center tap. Use rates below 41, or a larger data.crop. "
        "Received: [6, 12, 41]"
    ]
    assert load("deeplab_v2_resnet101_voc", ["model.decoder.rates=[6, 12, 40]"])
    assert load("deeplab_v2_resnet101_voc", ["model.decoder.rates=[6, 12, 41]", "data.crop=null"])


def test_rejected_rates_use_only_the_center_tap() -> None:
    """On a 5x5 feature map, rate 5 reads zero padding beside the center; rate 4 still reads other positions."""
    x = np.random.default_rng(0).normal(size=(1, 5, 5, 1)).astype(np.float32)
    for rate, center_only in ((5, True), (4, False)):
        conv = AtrousConv2D(1, 3, padding="same", dilation_rate=rate, kernel_initializer="ones")
        assert np.allclose(conv(x), x, atol=1e-6) == center_only


def test_pooling_windows_that_exceed_the_feature_map_are_rejected() -> None:
    spec = Segmenter(backbone=Resnet(output_stride=16), decoder=DeepLabV3(rates=(), pool_size=(16, 17)))
    assert list(spec.problems(Context(LABELS, 3, (256, 272)))) == []
    assert list(spec.problems(Context(LABELS, 3, 256))) == [
        (
            ("decoder", "pool_size"),
            "on crops of 256 the feature map of output stride 16 is 16x16, smaller than the pooling window. "
            "Set pool_size to "
            "null for global average pooling. Received: [16, 17]",
        )
    ]
    assert list(spec.problems(Context(LABELS, 3))) == []


@pytest.mark.parametrize("file", shipped(), ids=lambda file: file.stem)
def test_shipped_pipelines_have_valid_rates(file: Path) -> None:
    pipeline = load(file)
    assert list(pipeline.model.problems(Context(pipeline.labels, 3, pipeline.data.crop))) == []


PADDED = Vgg16(form="dilation", output_stride=8, width_multiplier=0.02)
BEYOND = (
    "finer stages of vgg16 in its dilation form extend beyond the image, and this decoder does not crop them. "
    "Set model.backbone.form to same"
)


@pytest.mark.parametrize(
    ("decoder", "expected"),
    [
        (Fcn(strides=(8, 4)), [(("decoder", "strides"), f"{BEYOND}, or strides to [8]. Received: [8, 4]")]),
        (Fcn(strides=(8,)), []),
        (Fcn(strides=(8, 4), upsampling="deconv"), []),
        (DeepLabV3Plus(), [(("decoder", "low_level"), f"{BEYOND}. Received: 4")]),
        (PspNet(), [(("decoder", "auxiliary"), f"{BEYOND}, or auxiliary to false. Received: true")]),
        (PspNet(auxiliary=False), []),
    ],
)
def test_finer_stages_that_extend_beyond_the_image(decoder: Fcn, expected: list[tuple[tuple[str, ...], str]]) -> None:
    assert list(Segmenter(backbone=PADDED, decoder=decoder).problems(Context(LABELS, 3))) == expected


@pytest.mark.parametrize(
    "backbone", [PADDED, Vgg16(width_multiplier=0.02), SmallCnn(filters=2)], ids=lambda each: each.type
)
def test_extending_beyond_the_image_matches_the_map_sizes(backbone: Vgg16 | SmallCnn) -> None:
    stages = backbone(keras.Input((64, 64, 3))).stages
    assert any(stage.tensor.shape[1] > 64 // stage.stride for stage in stages) == extends_beyond_image(
        backbone_features(backbone, 3)
    )

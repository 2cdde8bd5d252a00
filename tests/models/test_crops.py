"""What a network reads further away than its map reaches is found before training, by its name."""

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


def test_rates_beyond_the_map_are_found_by_name() -> None:
    with pytest.raises(SpecError) as caught:
        load("deeplab_v2_resnet101_voc", ["model.decoder.rates=[6, 12, 41]"])
    assert [line.partition(": ")[2] for line in str(caught.value).splitlines()] == [
        "model.decoder.rates: on crops of 321 the map of output stride 8 has 41 places in a row, where a 3x3 "
        "convolution of rate 41 or more sees nothing but its middle place. Use rates below 41, or a larger data.crop. "
        "Received: [6, 12, 41]"
    ]
    assert load("deeplab_v2_resnet101_voc", ["model.decoder.rates=[6, 12, 40]"])
    assert load("deeplab_v2_resnet101_voc", ["model.decoder.rates=[6, 12, 41]", "data.crop=null"])


def test_what_the_refused_rates_would_do() -> None:
    """On a map of 5 places, rate 5 reads zeros beside the middle; rate 4 still reaches across."""
    x = np.random.default_rng(0).normal(size=(1, 5, 5, 1)).astype(np.float32)
    for rate, blind in ((5, True), (4, False)):
        conv = AtrousConv2D(1, 3, padding="same", dilation_rate=rate, kernel_initializer="ones")
        assert np.allclose(conv(x), x, atol=1e-6) == blind


def test_windows_beyond_the_map_are_found_by_name() -> None:
    spec = Segmenter(backbone=Resnet(output_stride=16), decoder=DeepLabV3(rates=(), pool_size=(16, 17)))
    assert list(spec.problems(Context(LABELS, 3, (256, 272)))) == []
    assert list(spec.problems(Context(LABELS, 3, 256))) == [
        (
            ("decoder", "pool_size"),
            "on crops of 256 the map of output stride 16 has 16 rows and 16 columns, on which no larger window has a "
            "place. Set it to null for the mean of the whole map. Received: [16, 17]",
        )
    ]
    assert list(spec.problems(Context(LABELS, 3))) == []


@pytest.mark.parametrize("file", shipped(), ids=lambda file: file.stem)
def test_shipped_rates_fit(file: Path) -> None:
    pipeline = load(file)
    assert list(pipeline.model.problems(Context(pipeline.labels, 3, pipeline.data.crop))) == []


OVERHANGING = Vgg16(form="dilation", output_stride=8, width_multiplier=0.02)
BEYOND = (
    "finer stages of vgg16 in its dilation form reach beyond the image, and this decoder does not crop them. "
    "Set model.backbone.form to same"
)


@pytest.mark.parametrize(
    ("decoder", "expected"),
    [
        (Fcn(strides=(8, 4)), [(("decoder", "strides"), f"{BEYOND}, or this to [8]. Received: [8, 4]")]),
        (Fcn(strides=(8,)), []),
        (Fcn(strides=(8, 4), upsampling="deconv"), []),
        (DeepLabV3Plus(), [(("decoder", "low_level"), f"{BEYOND}. Received: 4")]),
        (PspNet(), [(("decoder", "auxiliary"), f"{BEYOND}, or this to false. Received: true")]),
        (PspNet(auxiliary=False), []),
    ],
)
def test_finer_stages_that_reach_beyond_the_image(decoder: Fcn, expected: list[tuple[tuple[str, ...], str]]) -> None:
    assert list(Segmenter(backbone=OVERHANGING, decoder=decoder).problems(Context(LABELS, 3))) == expected


@pytest.mark.parametrize(
    "backbone", [OVERHANGING, Vgg16(width_multiplier=0.02), SmallCnn(filters=2)], ids=lambda each: each.type
)
def test_overhanging_is_what_the_maps_are(backbone: Vgg16 | SmallCnn) -> None:
    stages = backbone(keras.Input((64, 64, 3))).stages
    assert any(stage.tensor.shape[1] > 64 // stage.stride for stage in stages) == extends_beyond_image(
        backbone_features(backbone, 3)
    )

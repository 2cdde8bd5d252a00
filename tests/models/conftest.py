"""Small networks shared by the tests of models."""

from collections.abc import Callable

import pytest

from tfseg.backbones import MobileNetV2, SmallCnn, Vgg16
from tfseg.labels import Labels
from tfseg.models import Segmenter
from tfseg.models.decoders import DeepLabV1, DeepLabV2, Dilation, Fcn

LABELS = Labels(names=("road", "car", "sky"))

SMALL: dict[str, Callable[[], Segmenter]] = {
    "small_cnn": lambda: Segmenter(backbone=SmallCnn(filters=2), decoder=Fcn(strides=(16, 8), filters=4)),
    "mobilenet_v2": lambda: Segmenter(backbone=MobileNetV2(width_multiplier=0.1), decoder=Fcn(strides=(32, 16, 8, 4))),
    "dilated": lambda: Segmenter(backbone=SmallCnn(filters=2, output_stride=8), decoder=Fcn(strides=(8, 4))),
    "vgg16_original": lambda: Segmenter(
        backbone=Vgg16(form="original", width_multiplier=1 / 64),
        decoder=Fcn(upsampling="deconv", scales=(0.01, 0.0001)),
    ),
    "vgg16_deconv": lambda: Segmenter(backbone=Vgg16(width_multiplier=1 / 64), decoder=Fcn(upsampling="deconv")),
    "deeplab_v1": lambda: Segmenter(
        backbone=Vgg16(form="deeplab", output_stride=8, width_multiplier=1 / 64, pool5a=True),
        decoder=DeepLabV1(multi_scale=True, filters=4),
    ),
    "deeplab_v2": lambda: Segmenter(
        backbone=Vgg16(form="deeplab", output_stride=8, width_multiplier=1 / 64, fc=None),
        decoder=DeepLabV2(rates=(2, 4), filters=8),
    ),
    "dilation": lambda: Segmenter(
        backbone=Vgg16(form="dilation", output_stride=8, width_multiplier=1 / 64), decoder=Dilation(context="large")
    ),
    "vgg16_resize": lambda: Segmenter(backbone=Vgg16(width_multiplier=1 / 64), decoder=Fcn()),
}
"""Tiny networks, one per family."""


@pytest.fixture
def labels() -> Labels:
    return LABELS


@pytest.fixture(params=SMALL)
def segmenter(request: pytest.FixtureRequest) -> Segmenter:
    return SMALL[request.param]()

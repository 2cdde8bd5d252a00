"""DeepLab v3 and v3+: sizes, parameters and error messages."""

import keras
import numpy as np
import pytest

from tests.tiers import rotating
from tfseg.backbones import MobileNetV2, Resnet, SmallCnn, Vgg16
from tfseg.labels import Labels
from tfseg.models import ModelError, Segmenter
from tfseg.models.decoders import DeepLabV3, DeepLabV3Plus
from tfseg.pipeline import load
from tfseg.spec.problems import SpecError

LABELS = Labels(names=("road", "car", "sky"))
TINY = {
    "small_cnn": SmallCnn(filters=2, output_stride=8),
    "mobilenet_v2": MobileNetV2(width_multiplier=0.1, output_stride=16),
    "resnet50": Resnet(depth=50, width_multiplier=1 / 32, output_stride=8),
    "resnet101": Resnet(depth=101, width_multiplier=1 / 64, output_stride=16),
}


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("backbone", rotating(TINY, TINY.keys() - {"resnet101"}))
@pytest.mark.parametrize("separable", [False, True])
def test_output_sizes(backbone: str, separable: bool) -> None:
    """v3 has scores at the output stride, v3+ at stride 4; logits have the image size, with aligned corners."""
    image = np.random.default_rng(0).uniform(0, 255, (2, 65, 97, 3)).astype(np.float32)
    for decoder, stride in (
        (DeepLabV3(rates=(1, 2), filters=4, separable=separable), TINY[backbone].output_stride),
        (DeepLabV3Plus(rates=(1, 2), filters=4, low_level_filters=3, separable=separable), 4),
    ):
        outputs = Segmenter(backbone=TINY[backbone], decoder=decoder).build(LABELS, training=True)(image)
        assert outputs["scores"].shape == (2, 64 // stride + 1, 96 // stride + 1, 3)
        assert outputs["logits"].shape == (2, 65, 97, 3)
        np.testing.assert_allclose(outputs["logits"][:, ::stride, ::stride], outputs["scores"], atol=1e-5)


def test_head_uses_the_alignment_of_the_decoder() -> None:
    for aligned in (True, False):
        decoder = DeepLabV3(rates=(), filters=4, align_corners=aligned)
        model = Segmenter(backbone=SmallCnn(filters=2), decoder=decoder).build(LABELS)
        assert model.get_layer("resize").align_corners is aligned


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # (1x1: 2048 x 256) + 3 x (9 x 2048 x 256) + (pooling: 2048 x 256) + (5 x 256 x 256), 4 values per channel
        # of BatchNorm, the classifier, and 42,605,504 of the backbone
        ("deeplab_v3_resnet101_voc", 42_605_504 + 2048 * 256 * 29 + 5 * 256 * 256 + 6 * 4 * 256 + 257 * 21),
        (
            "deeplab_v3_plus_resnet101_voc",
            42_605_504 + 2048 * 256 * 29 + 5 * 256 * 256 + 6 * 4 * 256 + 257 * 21
            + 256 * 48 + 4 * 48 + 9 * (256 + 48) * 256 + 9 * 256 * 256 + 2 * 4 * 256,
        ),
        ("deeplab_v3_mobilenet_v2_257_voc", 714_325),
    ],
)  # fmt: skip
def test_parameters(name: str, parameters: int) -> None:
    pipeline = load(name)
    with keras.StatelessScope(initialize_variables=False):
        model = pipeline.build()
        assert sum(int(np.prod(variable.shape)) for variable in model.weights) == parameters


def test_low_level_stage_is_selected_by_stride_or_name() -> None:
    backbone = MobileNetV2(width_multiplier=0.1, output_stride=16)
    for low_level, expected in ((4, "block_3_expand_relu"), ("block_2_depthwise_relu", "block_2_depthwise_relu")):
        decoder = DeepLabV3Plus(rates=(), filters=4, low_level=low_level)
        model = Segmenter(backbone=backbone, decoder=decoder).build(LABELS)
        assert model.get_layer("low_level").input.name == model.get_layer(expected).output.name


def error_message(backbone: object, decoder: object) -> str:
    with pytest.raises(ModelError) as error:
        Segmenter(backbone=backbone, decoder=decoder).build(LABELS)
    return str(error.value)


def test_unknown_low_level_stages_are_reported() -> None:
    assert error_message(MobileNetV2(width_multiplier=0.1), DeepLabV3Plus(low_level=3)) == (
        "model.decoder.low_level: mobilenet_v2 with output stride 32 has strides 2, 4, 8, 16, 32. Received: 3"
    )
    assert error_message(SmallCnn(filters=2), DeepLabV3Plus(low_level="conv2")).startswith(
        "model.decoder.low_level: small_cnn has the stages "
    )


def test_scores_that_extend_beyond_the_image_are_reported() -> None:
    assert error_message(Vgg16(width_multiplier=1 / 64, form="original"), DeepLabV3()) == (
        "model.decoder.type: scores of vgg16 in this form extend beyond the image, and deeplab_v3 does not crop. "
        "Set model.backbone.form to same. Received: deeplab_v3"
    )


def test_arguments_without_effect_are_reported() -> None:
    for options, needed in (({}, "separable: true"), ({"rates": (), "separable": True}, "rates")):
        with pytest.raises(SpecError, match=f"has no effect without {needed}. Received: false"):
            DeepLabV3(depthwise_norm=False, **options)
    with pytest.raises(SpecError, match="expected an integer of at least 1"):
        DeepLabV3(rates=(6, 0))

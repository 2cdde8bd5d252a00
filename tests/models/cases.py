"""Test cases of the model specs, in miniature."""

from typing import Any

from tests.checks import Given, SpecCase, layout
from tfseg.backbones import ContractingPath, SmallCnn, Vgg16
from tfseg.exporting import Export
from tfseg.labels import Labels
from tfseg.models import Graph, Norm, Segmenter
from tfseg.models.decoders import (
    DeconvNet,
    DeepLabV1,
    DeepLabV2,
    DeepLabV3,
    DeepLabV3Plus,
    Dilation,
    Fcn,
    PspNet,
    SegNet,
    Unet,
)
from tfseg.models.heads import Crop, Interp, Resize, Zoom
from tfseg.models.refine import CrfRnn
from tfseg.symbolic import symbolically

BACKBONE = Vgg16(width_multiplier=1 / 64)
RELEASED = Vgg16(form="deeplab", output_stride=8, width_multiplier=1 / 64)
DILATED = Vgg16(form="dilation", output_stride=8, width_multiplier=1 / 64)
INDEXED = Vgg16(width_multiplier=1 / 64, batch_norm=True, indices=True, fc=None)
SMALL = SmallCnn(filters=2)

DEEPLAB = {
    "rates": (1,),
    "filters": 5,
    "depthwise_norm": Given(False, {"separable": True}),
    "pool_size": 2,
    "order": "pooling_last",
    "activation": "swish",
    "dropout": 0.5,
    "align_corners": False,
}
OTHER_HEADS = {"type": "test_heads_other_than_the_required_one_are_rejected"}


def net(model: Any) -> str:
    """Returns the layout of the network that is trained."""
    return layout(symbolically(lambda: model.build(Labels(names=("road", "sky")), training=True)))


def part(
    slot: str, value: Any, changes: dict[str, Any], elsewhere: dict[str, str] | None = None, **beside: Any
) -> SpecCase:
    """Returns the case of a part of a `Segmenter`, together with the other parts that it needs."""
    return SpecCase(
        value, lambda part: net(Segmenter(**{**beside, slot: part})), changes, elsewhere=elsewhere or {}, beside=beside
    )


def conv(filters: Any) -> dict[str, Any]:
    return {"name": "score", "layer": "conv", "filters": filters, "kernel_size": 1}


CASES = [
    part(
        "decoder",
        Fcn(),
        {
            "type": PspNet(filters=4),
            "strides": (32, 16),
            "upsampling": "deconv",
            "learned_upsampling": Given(True, {"upsampling": "deconv"}),
            "scales": (0.01, 0.0001),
            "filters": 4,
        },
        backbone=BACKBONE,
    ),
    part(
        "decoder",
        DeepLabV1(filters=4),
        {
            "type": DeepLabV2(),
            "multi_scale": True,
            "fusion": Given("concatenation", {"multi_scale": True}),
            "filters": Given(5, {"multi_scale": True}),
            "dropout": Given(0.1, {"multi_scale": True}),
        },
        backbone=RELEASED,
    ),
    part(
        "decoder",
        DeepLabV2(),
        {"type": DeepLabV1(filters=4), "rates": (6, 12), "filters": 8, "dropout": Given(0.1, {"filters": 8})},
        backbone=RELEASED,
    ),
    part(
        "decoder",
        Dilation(),
        {
            "type": Fcn(strides=(8,)),
            "context": "large",
            "dilation_rates": Given((1, 2, 1), {"context": "basic"}),
            "padding": Given("same", {"context": "basic"}),
            "upsampling": "deconv",
        },
        backbone=DILATED,
    ),
    part(
        "decoder",
        DeepLabV3(filters=4),
        {"type": DeepLabV3Plus(filters=4), **DEEPLAB, "separable": True},
        backbone=SMALL,
    ),
    part(
        "decoder",
        DeepLabV3Plus(filters=4),
        {
            "type": DeepLabV3(filters=4),
            **DEEPLAB,
            "separable": False,
            "low_level": 8,
            "low_level_filters": 6,
            "refinements": 1,
        },
        backbone=SMALL,
    ),
    part("decoder", DeconvNet(filters=4), {"type": SegNet(), "filters": 5}, backbone=INDEXED),
    part(
        "decoder",
        SegNet(),
        {"type": DeconvNet(filters=4), "convolutions": (3, 3, 3, 2, 1), "mc_dropout": "central"},
        backbone=INDEXED,
    ),
    part(
        "decoder",
        Unet(),
        {"type": Fcn(strides=(16,)), "strides": (16, 8, 2), "filters": (4, 3, 2, 1), "batch_norm": True},
        backbone=ContractingPath(filters=2),
    ),
    part(
        "decoder",
        PspNet(filters=4),
        {"type": Fcn(strides=(16,)), "filters": 6, "bins": (1, 4), "dropout": 0.5, "auxiliary": False},
        backbone=SMALL,
    ),
    part("head", Crop(), {}, OTHER_HEADS, backbone=BACKBONE, decoder=Fcn(upsampling="deconv")),
    part("head", Interp(), {}, OTHER_HEADS, backbone=RELEASED, decoder=DeepLabV1()),
    part("head", Resize(), {"align_corners": True}, OTHER_HEADS, backbone=BACKBONE, decoder=Fcn()),
    part("head", Zoom(), {}, OTHER_HEADS, backbone=DILATED, decoder=Dilation()),
    part(
        "norm",
        Norm(),
        {
            "type": Norm(type="group", groups=2),
            "groups": Given(1, {"type": "group", "groups": 2}),
            "momentum": {"decoder": 0.5},
            "epsilon": 0.1,
        },
        backbone=SMALL,
        decoder=Fcn(strides=(16,), filters=4),
    ),
    part(
        "refine",
        CrfRnn(),
        {
            "theta_alpha": 50.0,
            "theta_beta": 10.0,
            "theta_gamma": 1.0,
            "bilateral_weight": 4.0,
            "spatial_weight": 2.0,
            "kernel_weights": "per_class",
            "compatibility": ((-1.0, 0.0), (0.5, -1.0)),
            "iterations": 3,
            "inference_iterations": 5,
            "normalization": "symmetric",
            "kernel": "convolutional",
            "window": Given(7, {"kernel": "convolutional"}),
        },
        backbone=SMALL,
        decoder=Fcn(strides=(16,)),
    ),
    SpecCase(
        Segmenter(backbone=BACKBONE, decoder=Fcn()),
        net,
        {
            "type": Graph(layers=(conv("${classes}"),)),
            "channels": 4,
            "backbone": Given(SMALL, {"decoder": Fcn(strides=(16,))}),
            "decoder": Fcn(strides=(32,)),
            "head": Resize(align_corners=True),
            "norm": Given(Norm(momentum=0.5), {"backbone": SMALL, "decoder": Fcn(strides=(16,))}),
            "grid": 1,
            "scales": Given((1.0, 0.5), {"head": Resize(align_corners=True)}),
            "fusion": Given("mean", {"scales": (1.0, 0.5), "head": Resize(align_corners=True)}),
            "refine": CrfRnn(),
        },
        beside={"export": Export(tflite=None)},
    ),
    SpecCase(
        Graph(layers=(conv("${classes}"),)),
        net,
        {
            "type": Segmenter(backbone=SMALL, decoder=Fcn(strides=(16,))),
            "channels": 1,
            "layers": ({"name": "first", "layer": "normalize", "mode": "tf"}, conv("${classes}")),
        },
    ),
]

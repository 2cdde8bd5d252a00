"""Every spec of a model, tiny."""

from collections.abc import Callable
from typing import Any

from tests.checks import Given, SpecCase
from tfseg.backbones import ContractingPath, SmallCnn, Vgg16
from tfseg.labels import Labels
from tfseg.models import Graph, Segmenter
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

BACKBONE = Vgg16(width=1 / 64)
RELEASED = Vgg16(form="deeplab", output_stride=8, width=1 / 64)
INDEXED = Vgg16(width=1 / 64, batch_norm=True, indices=True, fc=None)

DEEPLAB = {
    "rates": (1,),
    "channels": 5,
    "depthwise_norm": Given(False, {"separable": True}),
    "pool_size": 2,
    "order": "pooling_last",
    "activation": "swish",
    "dropout": 0.5,
    "momentum": 0.99,
    "epsilon": 1e-3,
    "align_corners": False,
}


def net(model: Any) -> list[list[str]]:
    """Its layers in training, in plain values."""
    layers = model.build(Labels(names=("road", "sky")), training=True).layers
    return [[type(layer).__name__, str(layer.get_config())] for layer in layers]


def decoded(decoder: Fcn) -> list[list[str]]:
    return net(Segmenter(backbone=BACKBONE, decoder=decoder))


def on(backbone: Any) -> Callable[[Any], list[list[str]]]:
    """What a decoder makes of `backbone`."""
    return lambda decoder: net(Segmenter(backbone=backbone, decoder=decoder))


def headed(head: Any) -> list[list[str]]:
    upsampling = "deconv" if isinstance(head, Crop) else "resize"
    return net(Segmenter(backbone=BACKBONE, decoder=Fcn(upsampling=upsampling), head=head))


def conv(filters: Any) -> dict[str, Any]:
    return {"name": "score", "layer": "conv", "filters": filters, "kernel_size": 1}


CASES = [
    SpecCase(
        Fcn(),
        decoded,
        {
            "strides": (32, 16),
            "upsampling": "deconv",
            "learned_upsampling": Given(True, {"upsampling": "deconv"}),
            "scales": (0.01, 0.0001),
            "channels": 4,
        },
    ),
    SpecCase(
        DeepLabV1(channels=4),
        on(RELEASED),
        {
            "multi_scale": True,
            "fusion": Given("concatenation", {"multi_scale": True}),
            "channels": Given(5, {"multi_scale": True}),
            "dropout": Given(0.1, {"multi_scale": True}),
        },
    ),
    SpecCase(DeepLabV2(), on(RELEASED), {"rates": (6, 12), "hidden": 8, "dropout": Given(0.1, {"hidden": 8})}),
    SpecCase(
        Dilation(),
        on(Vgg16(form="dilation", output_stride=8, width=1 / 64)),
        {
            "context": "large",
            "dilations": Given((1, 2, 1), {"context": "basic"}),
            "padding": Given("same", {"context": "basic"}),
            "upsampling": "deconv",
        },
    ),
    SpecCase(DeepLabV3(channels=4), on(SmallCnn(width=2)), {**DEEPLAB, "separable": True}),
    SpecCase(
        DeepLabV3Plus(channels=4),
        on(SmallCnn(width=2)),
        {**DEEPLAB, "separable": False, "low_level_channels": 6, "refinements": 1},
        elsewhere={"low_level": "test_low_level_stages_by_stride_and_by_name"},
    ),
    SpecCase(DeconvNet(filters=4), on(INDEXED), {"filters": 5}),
    SpecCase(SegNet(), on(INDEXED), {"convolutions": (3, 3, 3, 2, 1), "mc_dropout": "central"}),
    SpecCase(
        Unet(),
        on(ContractingPath(width=2)),
        {"strides": (16, 8, 2), "channels": (4, 3, 2, 1), "batch_norm": True},
    ),
    SpecCase(
        PspNet(filters=4),
        on(SmallCnn(width=2)),
        {"filters": 6, "bins": (1, 4), "dropout": 0.5, "auxiliary": False},
    ),
    SpecCase(Crop(), headed, {}),
    SpecCase(Interp(), lambda head: net(Segmenter(backbone=RELEASED, decoder=DeepLabV1(), head=head)), {}),
    SpecCase(Resize(), headed, {"align_corners": True}),
    SpecCase(
        CrfRnn(),
        lambda refine: net(Segmenter(backbone=SmallCnn(width=2), decoder=Fcn(strides=(16,)), refine=refine)),
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
    ),
    SpecCase(Zoom(), lambda head: net(Segmenter(backbone=RELEASED, decoder=Dilation(), head=head)), {}),
    SpecCase(
        Segmenter(backbone=BACKBONE, decoder=Fcn()),
        net,
        {
            "channels": 4,
            "backbone": Given(SmallCnn(width=2), {"decoder": Fcn(strides=(16,))}),
            "decoder": Fcn(strides=(32,)),
            "head": Resize(align_corners=True),
            "scales": (1.0, 0.5),
            "fusion": Given("mean", {"scales": (1.0, 0.5)}),
            "refine": CrfRnn(),
        },
    ),
    SpecCase(
        Graph(layers=(conv("${classes}"),)),
        net,
        {"channels": 1, "layers": ({"name": "first", "layer": "normalize", "mode": "tf"}, conv("${classes}"))},
    ),
]

"""The names of TF-slim, under which the authors of DeepLab v3 and v3+ published their checkpoints."""

import re

from tfseg.weights.modules import Modules
from tfseg.weights.naming import Naming, alone, translated

MARK = re.compile(r"(MobilenetV2|resnet_v1_\d+)/")
"""How these names are known."""
UNITS = {16: 50, 33: 101, 50: 152}
"""The depth of a ResNet by its units."""
PARTS = {"0": "shortcut", "1": "conv1", "2": "conv2", "3": "conv3"}
"""The convolutions of a ResNet's unit."""

CONVOLUTIONS = (
    (r"Conv1", r"MobilenetV2/Conv"),
    (r"expanded_conv_(depthwise|project)", r"MobilenetV2/expanded_conv/\1"),
    (r"block_(\d+)_(expand|depthwise|project)", r"MobilenetV2/expanded_conv_\1/\2"),
    (r"(conv1|conv1_\d)_conv", r"resnet_v1_DEPTH/\1"),
    *(
        (rf"conv{stage}_block(\d+)_{ours}_conv", rf"resnet_v1_DEPTH/block{stage - 1}/unit_\1/bottleneck_v1/{theirs}")
        for stage in (2, 3, 4, 5)
        for ours, theirs in PARTS.items()
    ),
    (r"aspp/pooling", r"image_pooling"),
    (r"aspp/pointwise", r"aspp0"),
    (r"aspp/projection", r"concat_projection"),
    (r"low_level", r"decoder/feature_projection0"),
    (r"score", r"logits/semantic"),
)
"""Our convolutions and their scopes."""
SEPARABLE = (
    (r"aspp/atrous_(\d+)_depthwise", r"aspp\1_depthwise"),
    (r"aspp/atrous_(\d+)", r"aspp\1_pointwise"),
    (r"refine1_depthwise", r"decoder/decoder_conv0_depthwise"),
    (r"refine1", r"decoder/decoder_conv0_pointwise"),
    (r"refine2_depthwise", r"decoder/decoder_conv1_depthwise"),
    (r"refine2", r"decoder/decoder_conv1_pointwise"),
)
PLAIN = (
    (r"aspp/atrous_(\d+)", r"aspp\1"),
    (r"refine(\d+)", r"decoder/decoder_conv0/decoder_conv0_\1"),
)
VARIABLES = {"kernel": ("weights", "depthwise_weights", "kernel"), "bias": ("biases", "bias")}
"""Ours and theirs. Arrays taken out of a TFLite file are called as ours are."""


def slim(modules: Modules) -> Naming:
    """The names of TF-slim for `modules`; a BatchNorm lies within the scope of its convolution."""
    separable = any(name.endswith("_depthwise") for name in modules.variables if name.startswith(("aspp/", "refine")))
    table = CONVOLUTIONS + (SEPARABLE if separable else PLAIN)
    scopes = {name: _deep(scope, modules) for name, scope in translated(modules.variables, table).items()}
    norms = {norm: f"{scopes[conv]}/BatchNorm" for norm, conv in modules.norms.items() if conv in scopes}
    return Naming("TF-slim names", alone({**scopes, **norms}), VARIABLES)


def _deep(scope: str, modules: Modules) -> str:
    return scope.replace("DEPTH", str(UNITS.get(sum(modules.resnet_units), "unknown")))

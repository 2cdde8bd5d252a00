"""Names of TF-slim, in which the authors of DeepLab v3 and v3+ published their checkpoints."""

import re

from tfseg.weights.modules import Modules
from tfseg.weights.naming import Naming, single_scopes, translated

PATTERN = re.compile(r"(MobilenetV2|resnet_v1_\d+)/")
"""Pattern that identifies these names."""
UNITS = {16: 50, 33: 101, 50: 152}
"""Depth of a ResNet by its number of units."""
PARTS = {"0": "shortcut", "1": "conv1", "2": "conv2", "3": "conv3"}
"""Convolutions of a ResNet unit."""

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
"""Convolutions of tfseg and their scopes in TF-slim."""
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
"""Variables of tfseg and their names in files: those of TF-slim, or those of tfseg in arrays of TFLite files."""


def slim(modules: Modules) -> Naming:
    """Returns the TF-slim names of `modules`. A BatchNorm is in the scope of its convolution."""
    separable = any(name.endswith("_depthwise") for name in modules.variables if name.startswith(("aspp/", "refine")))
    table = CONVOLUTIONS + (SEPARABLE if separable else PLAIN)
    scopes = {name: _deep(scope, modules) for name, scope in translated(modules.variables, table).items()}
    norms = {norm: f"{scopes[conv]}/BatchNorm" for norm, conv in modules.norms.items() if conv in scopes}
    return Naming("TF-slim names", single_scopes({**scopes, **norms}), VARIABLES)


def _deep(scope: str, modules: Modules) -> str:
    return scope.replace("DEPTH", str(UNITS.get(sum(modules.resnet_units), "unknown")))

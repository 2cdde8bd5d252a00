"""Names of TensorFlow Model Garden's segmentation models: object-based checkpoints with numbered layers."""

import re
from collections.abc import Iterable

from tfseg.weights.modules import Modules
from tfseg.weights.naming import Naming, single_scopes, translated

PATTERN = re.compile(r"(backbone/layer_with_weights-|decoder/aspp/|head/_classifier/)")
"""Pattern that identifies these names."""
VALUE = ".ATTRIBUTES/VARIABLE_VALUE"

BACKBONE = (
    (r"Conv1", r"stem _conv0"),
    (r"bn_Conv1", r"stem _norm0"),
    (r"(expanded_conv|block_\d+)_expand", r"\1 _conv0"),
    (r"(expanded_conv|block_\d+)_expand_BN", r"\1 _norm0"),
    (r"(expanded_conv|block_\d+)_depthwise", r"\1 _conv1"),
    (r"(expanded_conv|block_\d+)_depthwise_BN", r"\1 _norm1"),
    (r"(expanded_conv|block_\d+)_project", r"\1 _conv2"),
    (r"(expanded_conv|block_\d+)_project_BN", r"\1 _norm2"),
    (r"((?:conv1|conv1_\d)_(?:conv|bn))", r"\1 "),
    (r"(conv\d_block\d+)_0_conv", r"\1 _shortcut"),
    (r"(conv\d_block\d+)_(\d)_conv", r"\1 _conv\2"),
    (r"(conv\d_block\d+)_(\d)_bn", r"\1 _norm\2"),
)
"""Layers of tfseg, mapped to a layer of Model Garden (named as in tfseg, to be numbered) and the part of that layer."""
ASPP = "decoder/aspp/aspp_layers"
DECODER = (
    (r"aspp/pointwise", rf"{ASPP}/0/layer_with_weights-0"),
    (r"aspp/pointwise_norm", rf"{ASPP}/0/layer_with_weights-1"),
    (r"aspp/pooling", rf"{ASPP}/LAST/layer_with_weights-0/layer_with_weights-0"),
    (r"aspp/pooling_norm", rf"{ASPP}/LAST/layer_with_weights-0/layer_with_weights-1"),
    (r"aspp/projection", r"decoder/aspp/projection/layer_with_weights-0"),
    (r"aspp/projection_norm", r"decoder/aspp/projection/layer_with_weights-1"),
    (r"low_level", r"head/_dlv3p_conv"),
    (r"low_level_bn", r"head/_dlv3p_norm"),
    (r"score", r"head/_classifier"),
)
SEPARABLE = (
    (r"aspp/atrous_(\d+)_depthwise", rf"{ASPP}/\1/layer_with_weights-0"),
    (r"aspp/atrous_(\d+)", rf"{ASPP}/\1/layer_with_weights-1"),
    (r"aspp/atrous_(\d+)_norm", rf"{ASPP}/\1/layer_with_weights-2"),
)
PLAIN = (
    (r"aspp/atrous_(\d+)", rf"{ASPP}/\1/layer_with_weights-0"),
    (r"aspp/atrous_(\d+)_norm", rf"{ASPP}/\1/layer_with_weights-1"),
)
REFINEMENT = re.compile(r"refine\d+(_depthwise)?")
VARIABLES = {
    "kernel": (f"kernel/{VALUE}", f"depthwise_kernel/{VALUE}"),
    **{name: (f"{name}/{VALUE}",) for name in ("bias", "gamma", "beta", "moving_mean", "moving_variance")},
}


def model_garden(modules: Modules) -> Naming:
    """Returns the Model Garden names of `modules`."""
    names = list(modules.variables)
    separable = any(re.fullmatch(r"aspp/atrous_\d+_depthwise", name) for name in names)
    decoder = translated(names, DECODER + (SEPARABLE if separable else PLAIN))
    rates = sum(bool(re.fullmatch(r"aspp/atrous_\d+", name)) for name in names)
    last = {name: theirs.replace("LAST", str(rates + 1)) for name, theirs in decoder.items()}
    return Naming("Model Garden names", single_scopes({**_backbone(names), **last, **_refinements(names)}), VARIABLES)


def _backbone(names: Iterable[str]) -> dict[str, str]:
    """Numbers the layers with weights in the order of the network."""
    parts = {name: found.split(" ") for name, found in translated(names, BACKBONE).items()}
    order = list(dict.fromkeys(layer for layer, _ in parts.values()))
    return {
        name: f"backbone/layer_with_weights-{order.index(layer)}/{part}".rstrip("/")
        for name, (layer, part) in parts.items()
    }


def _refinements(names: Iterable[str]) -> dict[str, str]:
    """Numbers the convolutions of the head, depthwise ones included, and their BatchNorms."""
    convs = [name for name in names if REFINEMENT.fullmatch(name)]
    numbered = {name: f"head/_convs/{number}" for number, name in enumerate(convs)}
    return numbered | {f"{name}_bn": f"head/_norms/{number}" for number, name in enumerate(convs)}

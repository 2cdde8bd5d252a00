"""Scopes of layers from the tensor names in converted files."""

import re
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

OPERATIONS = re.compile(
    r"(?P<scope>.+?)/"
    r"(?:(?:depthwise_)?(?:weights|kernel)(?:/read|/ReadVariableOp.*|_quant/.+)?"  # or fake-quantized
    r"|(?:convolution|Conv2D|depthwise|conv_transpose|conv2d_transpose|(?:Tensordot/)?MatMul)(?:/ReadVariableOp\w*)?)\d*"
)
"""Names of a convolution or its kernel in the scope of a layer. TensorFlow adds numbers to repeated names."""
AROUND = re.compile(
    r"(?P<scope>.+?)/"
    r"(?:BatchNorm(?:_Fold)?/.+|act_quant/.+|\w*_Fold|add_fold|Relu6?|BiasAdd|\w*bias(?:es)?(?:/read)?|Conv2D_\w+)\d*"
)
"""Names of other operations that TF-slim creates in the scope of a convolution."""


def candidates(*names: str) -> tuple[str, ...]:
    """Returns the possible scopes of an operation from the names of its tensors, the likeliest first.

    Converters join the names of fused operations with semicolons, and also the names of operations that only share a
    constant.

    >>> candidates("net/bn_1/batchnorm/mul;net/conv_1/depthwise;net/bn_1/batchnorm/add1")
    ('net/conv_1',)
    >>> candidates("constant_7", "MobilenetV2/Conv/Relu6")
    ('MobilenetV2/Conv',)
    """
    parts = [part for name in names for part in name.split(";")]
    for pattern in (OPERATIONS, AROUND):
        if found := [match["scope"] for part in parts if (match := pattern.fullmatch(part))]:
            return tuple(dict.fromkeys(found))
    return ()


def assigned(choices: Mapping[Key, Iterable[str]]) -> dict[Key, str]:
    """Assigns a distinct choice to each key; keys with the fewest remaining choices come first.

    >>> assigned({"a": ["x", "y"], "b": ["x"], "c": ["x"]})
    {'b': 'x', 'a': 'y'}
    """
    left = {key: dict.fromkeys(names) for key, names in choices.items()}
    found: dict[Key, str] = {}
    while left := {key: names for key, names in left.items() if names}:
        key = min(left, key=lambda key: len(left[key]))
        found[key] = next(iter(left.pop(key)))
        for names in left.values():
            names.pop(found[key], None)
    return found

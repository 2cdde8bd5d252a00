"""Which layer a tensor of a converted file belongs to, by the names that converters leave."""

import re
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

OPERATIONS = re.compile(
    r"(?P<scope>.+?)/"
    r"(?:(?:depthwise_)?(?:weights|kernel)(?:/read|/ReadVariableOp.*|_quant/.+)?"  # perhaps quantized in training
    r"|(?:convolution|Conv2D|depthwise|conv_transpose|conv2d_transpose|(?:Tensordot/)?MatMul)(?:/ReadVariableOp\w*)?)\d*"
)
"""A convolution, or the variable that it reads, within the scope of its layer. Repeated names get a number."""
AROUND = re.compile(
    r"(?P<scope>.+?)/"
    r"(?:BatchNorm(?:_Fold)?/.+|act_quant/.+|\w*_Fold|add_fold|Relu6?|BiasAdd|\w*bias(?:es)?(?:/read)?|Conv2D_\w+)\d*"
)
"""What TF-slim lays around a convolution, within the same scope."""


def candidates(*names: str) -> tuple[str, ...]:
    """The scopes that the names of an operation's tensors may mean, the likeliest first.

    A converter joins the names of what it fused by semicolons, also of what merely shares a constant.

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


def settled(choices: Mapping[Key, Iterable[str]]) -> dict[Key, str]:
    """One of its choices for each key, no two the same: those with a single one left choose first.

    >>> settled({"a": ["x", "y"], "b": ["x"], "c": ["x"]})
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

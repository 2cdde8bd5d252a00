"""The network's own names, which for many backbones are those of `keras.applications`."""

import re
from collections.abc import Collection, Mapping

from tfseg.weights.modules import Modules
from tfseg.weights.naming import Naming
from tfseg.weights.scopes import settled
from tfseg.weights.vgg16 import decimated, fully_connected

KERAS_EPSILON = 1.001e-5
"""Of the BatchNorms of the ResNets of `keras.applications`, whose convolutions have biases."""


def own_names(modules: Modules, scopes: Collection[str]) -> Naming:
    """The naming of a file that calls layers as `modules` does.

    Layers may lie within others there. Where not one has its very name, a converter wrote the file: TensorFlow counts
    repeated names by a suffix.
    """
    found, title = _matched(modules, scopes, ""), "the network's own names"
    if not found and (found := _matched(modules, scopes, r"(?:_\d+)?")):
        title = "the network's own names, as a converter wrote them"
    named = {name: (found.get(name, name), *fully_connected(name)) for name in modules.variables}
    epsilon = KERAS_EPSILON if modules.resnet_units else None
    return Naming(title, named, {}, decimated, epsilon)


def _matched(modules: Modules, scopes: Collection[str], suffix: str) -> Mapping[str, str]:
    """The scope of each layer, where one ends as its path does, each part perhaps with that suffix."""
    exact = {name: name for name in modules.variables if name in scopes}
    rest = [scope for scope in scopes if scope not in exact]
    choices = {name: _ending(name, rest, suffix) for name in modules.variables if name not in exact}
    return exact | settled(choices)


def _ending(name: str, scopes: Collection[str], suffix: str) -> list[str]:
    pattern = re.compile("(?:.*/)?" + "/".join(re.escape(part) + suffix for part in name.split("/")))
    return [scope for scope in scopes if pattern.fullmatch(scope)]

"""The network's own layer names, which many backbones share with `keras.applications`."""

import re
from collections.abc import Collection, Mapping

from tfseg.weights.modules import Modules
from tfseg.weights.naming import Naming
from tfseg.weights.scopes import assigned
from tfseg.weights.vgg16 import decimated, fully_connected

KERAS_EPSILON = 1.001e-5
"""Epsilon of the ResNets of `keras.applications`, whose convolutions have biases."""


def own_names(modules: Modules, scopes: Collection[str]) -> Naming:
    """Returns the naming of a file with the layer names of `modules`.

    Layers can be nested in others in the file. If no name matches exactly, names are matched without the numeric
    suffixes that TensorFlow adds to repeated names in converted files.
    """
    found, title = _matched(modules, scopes, ""), "the network's own names"
    if not found and (found := _matched(modules, scopes, r"(?:_\d+)?")):
        title = "the network's own names, as a converter wrote them"
    named = {name: (found.get(name, name), *fully_connected(name)) for name in modules.variables}
    epsilon = KERAS_EPSILON if modules.resnet_units else None
    return Naming(title, named, {}, decimated, epsilon)


def _matched(modules: Modules, scopes: Collection[str], suffix: str) -> Mapping[str, str]:
    """Returns the scope of each layer: one that ends with its path, where each part may have that suffix."""
    exact = {name: name for name in modules.variables if name in scopes}
    rest = [scope for scope in scopes if scope not in exact]
    choices = {name: _ending(name, rest, suffix) for name in modules.variables if name not in exact}
    return exact | assigned(choices)


def _ending(name: str, scopes: Collection[str], suffix: str) -> list[str]:
    pattern = re.compile("(?:.*/)?" + "/".join(re.escape(part) + suffix for part in name.split("/")))
    return [scope for scope in scopes if pattern.fullmatch(scope)]

"""Detection of the naming scheme of a file."""

from collections.abc import Collection

from tfseg.weights.caffe import PATTERN as CAFFE
from tfseg.weights.caffe import caffe
from tfseg.weights.model_garden import PATTERN as MODEL_GARDEN
from tfseg.weights.model_garden import model_garden
from tfseg.weights.modules import Modules
from tfseg.weights.naming import Naming
from tfseg.weights.own_names import own_names
from tfseg.weights.slim import PATTERN as SLIM
from tfseg.weights.slim import slim
from tfseg.weights.vgg16 import PATTERN as VGG16
from tfseg.weights.vgg16 import vgg16

SCHEMES = ((MODEL_GARDEN, model_garden), (SLIM, slim), (CAFFE, caffe), (VGG16, vgg16))
"""Pattern and constructor of each naming scheme; files that match none have the network's own names."""


def naming_of(arrays: Collection[str], modules: Modules) -> Naming:
    """Returns the naming scheme of a file with these array names, ignoring names that the network has too."""
    scopes = dict.fromkeys(name.rpartition("/")[0] for name in arrays)
    foreign = [f"{scope}/" for scope in scopes if scope not in modules.variables]
    for pattern, scheme in SCHEMES:
        if any(pattern.match(scope) for scope in foreign):
            return scheme(modules)
    return own_names(modules, scopes)

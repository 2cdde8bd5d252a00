"""Which naming a file uses, known by its marks."""

from collections.abc import Collection

from tfseg.weights.caffe import MARK as CAFFE
from tfseg.weights.caffe import caffe
from tfseg.weights.model_garden import MARK as MODEL_GARDEN
from tfseg.weights.model_garden import model_garden
from tfseg.weights.modules import Modules
from tfseg.weights.naming import Naming
from tfseg.weights.own_names import own_names
from tfseg.weights.slim import MARK as SLIM
from tfseg.weights.slim import slim
from tfseg.weights.vgg16 import MARK as VGG16
from tfseg.weights.vgg16 import vgg16

SCHEMES = ((MODEL_GARDEN, model_garden), (SLIM, slim), (CAFFE, caffe), (VGG16, vgg16))
"""The mark of each, and what makes it for a network; a file without one has the network's own names."""


def naming_of(arrays: Collection[str], modules: Modules) -> Naming:
    """The naming of a file with these arrays. What the network itself calls so is no mark."""
    scopes = dict.fromkeys(name.rpartition("/")[0] for name in arrays)
    foreign = [f"{scope}/" for scope in scopes if scope not in modules.variables]
    for mark, scheme in SCHEMES:
        if any(mark.match(scope) for scope in foreign):
            return scheme(modules)
    return own_names(modules, scopes)

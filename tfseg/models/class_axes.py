"""Weights of single classes, found by comparing networks with different numbers of classes."""

import dataclasses

from tfseg.errors import TfsegError, WeightsError, first_line
from tfseg.labels import Labels
from tfseg.models.graph import Graph
from tfseg.models.refine import CrfRnn
from tfseg.models.segmenter import Segmenter
from tfseg.symbolic import symbolically
from tfseg.weights import ClassAxes
from tfseg.weights.modules import Modules

LARGEST_ID = 65535
"""Largest ignore label, which allows the most classes."""


def class_axes(network: Segmenter | Graph, labels: Labels) -> dict[str, ClassAxes]:
    """Returns the layers whose weights depend on the number of classes, by path.

    The network is compared with the same network for twice as many classes. Both are built without weight values.

    Args:
        network: Section `model` of a pipeline.
        labels: Classes of the pipeline.

    Returns:
        The axes of each layer. Layers of auxiliary outputs are included.

    Raises:
        WeightsError: If the network cannot be built for another number of classes.
    """
    doubled = Labels(names=tuple(f"class {index}" for index in range(2 * labels.count)), ignore=LARGEST_ID)
    free = _without_matrix(network)
    try:
        ours, theirs = symbolically(lambda: [_shapes(free, each) for each in (labels, doubled)])
        layers = zip(ours.items(), theirs.values(), strict=True)
        found = {path: ClassAxes.of(one, two, labels.count) for (path, one), two in layers}
    except (TfsegError, ValueError) as error:
        raise WeightsError(
            f"training.init_from: weights of classes are found by building the network for {doubled.count} classes "
            f"instead of {labels.count}, which fails: {first_line(error)}. Write ${{classes}} for the number of "
            "classes, or use weights of a network with the same classes in the same order."
        ) from error
    return {path: axes for path, axes in found.items() if axes is not None}


def _shapes(network: Segmenter | Graph, labels: Labels) -> dict[str, dict[str, tuple[int, ...]]]:
    """Returns the shapes of the variables of each layer, by path and name."""
    layers = Modules.of(network.build(labels, training=True)).variables
    return {path: {name: tuple(each.shape) for name, each in own.items()} for path, own in layers.items()}


def _without_matrix(network: Segmenter | Graph) -> Segmenter | Graph:
    """Returns the network without a compatibility matrix, which has no weights but fixes the number of classes."""
    refine = network.refine if isinstance(network, Segmenter) else None
    if not isinstance(refine, CrfRnn) or isinstance(refine.compatibility, str):
        return network
    free = dataclasses.replace(refine, compatibility="potts")
    return dataclasses.replace(network, refine=free)  # type: ignore[arg-type]  # a Segmenter, since it has `refine`

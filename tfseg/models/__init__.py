"""Segmentation networks: assembled from backbone, decoder and head, or defined layer by layer."""

from typing import Annotated

from tfseg.models.class_axes import class_axes
from tfseg.models.describe import Description, describe
from tfseg.models.graph import Graph
from tfseg.models.norm import Norm
from tfseg.models.problems import ModelError
from tfseg.models.retarget import retargeted
from tfseg.models.segmenter import Segmenter
from tfseg.spec.declare import ByType

Model = Annotated[Segmenter | Graph, ByType(default="segmenter")]
"""Type of the key `model` of a pipeline."""

__all__ = ["Description", "Graph", "Model", "ModelError", "Norm", "Segmenter", "class_axes", "describe", "retargeted"]

"""Reading, validation and printing of pipeline files, and their JSON Schema.

Independent of segmentation, except for the names in `habits` and `renamed`.
"""

from tfseg.spec.declare import BY_TYPE, ByType, Location, spec
from tfseg.spec.plugins import plugged, widen
from tfseg.spec.problems import InvalidFields, Problem, SpecError
from tfseg.spec.schema import json_schema
from tfseg.spec.show import dump
from tfseg.spec.source import Document, read
from tfseg.spec.validate import validate

__all__ = [
    "BY_TYPE",
    "ByType",
    "Document",
    "InvalidFields",
    "Location",
    "Problem",
    "SpecError",
    "dump",
    "json_schema",
    "plugged",
    "read",
    "spec",
    "validate",
    "widen",
]

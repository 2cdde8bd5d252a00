"""From a trained network to files that run without tfseg, each checked before it is left in place."""

from tfseg.exporting.artifacts import Report, export
from tfseg.exporting.spec import Export, Tflite
from tfseg.exporting.verify import Comparison

__all__ = ["Comparison", "Export", "Report", "Tflite", "export"]

"""Export of a trained network to files that run without tfseg, each verified before it is moved into place."""

from tfseg.exporting.artifacts import Report, export
from tfseg.exporting.spec import Export, Tflite
from tfseg.exporting.verify import Comparison

__all__ = ["Comparison", "Export", "Report", "Tflite", "export"]

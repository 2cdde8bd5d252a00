"""From a trained network to files that run without tfseg, each checked before it is left in place."""

from tfseg.export.artefacts import Report, export
from tfseg.export.spec import Export, Tflite
from tfseg.export.verify import Comparison

__all__ = ["Comparison", "Export", "Report", "Tflite", "export"]

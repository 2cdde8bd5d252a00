"""Cases of export settings."""

from tests.checks import SpecCase
from tfseg.exporting import Export, Tflite

TFLITE = Tflite(size=(8, 16))
EXPORT = Export(tflite=TFLITE, tolerance=0.01)

CASES = [
    SpecCase(TFLITE, None, {"size": (24, 40)}),
    SpecCase(EXPORT, None, {"tflite": None, "examples": 1, "tolerance": 0.001}),
]

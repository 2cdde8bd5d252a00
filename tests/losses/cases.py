"""The losses, tiny."""

from tests.checks import LossCase
from tfseg.losses import CrossEntropy

CASES = [
    LossCase(CrossEntropy, {"ignore_label": 7, "class_weights": (0.5, 1.0, 2.0), "reduction": "sum"}, ignore=7),
    LossCase(CrossEntropy, {"name": "ce"}),
]

"""Small cases of all losses."""

from tests.checks import LossCase
from tfseg.losses import CrossEntropy, TopKCrossEntropy

CASES = [
    LossCase(CrossEntropy, {"ignore_label": 7, "class_weights": (0.5, 1.0, 2.0), "reduction": "sum"}, ignore=7),
    LossCase(CrossEntropy, {"name": "ce", "resolution": "scores"}),
    LossCase(CrossEntropy, {"annotated": ((True, False, True),)}),
    LossCase(TopKCrossEntropy, {"pixels": 3, "ignore_label": 9, "resolution": "image", "name": "hard"}, ignore=9),
]

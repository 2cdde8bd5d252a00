"""Small cases of all losses."""

from tests.checks import LossCase
from tfseg.losses import (
    Boundary,
    BoundaryCrossEntropy,
    CrossEntropy,
    Dice,
    Focal,
    LovaszSoftmax,
    OhemCrossEntropy,
    TopKCrossEntropy,
    Tversky,
    WeightedSum,
)

WEIGHTS = (0.5, 1.0, 2.0)

CASES = [
    LossCase(CrossEntropy, {"ignore_label": 7, "class_weights": WEIGHTS, "reduction": "sum"}, ignore=7),
    LossCase(CrossEntropy, {"name": "ce", "resolution": "scores"}),
    LossCase(CrossEntropy, {"annotated": ((True, False, True),), "label_smoothing": 0.3}),
    LossCase(TopKCrossEntropy, {"pixels": 3, "ignore_label": 9, "resolution": "image", "name": "hard"}, ignore=9),
    LossCase(OhemCrossEntropy, {"threshold": 0.3, "min_kept": 0.2, "class_weights": WEIGHTS}),
    LossCase(Focal, {"gamma": 1.5, "ignore_label": 7, "name": "rare"}, ignore=7),
    LossCase(Dice, {"over": "batch", "class_weights": WEIGHTS}),
    LossCase(Tversky, {"alpha": 0.1, "beta": 0.6, "over": "image", "ignore_label": -1}, ignore=-1),
    LossCase(LovaszSoftmax, {"class_weights": WEIGHTS, "name": "lovasz"}),
    LossCase(Boundary, {"max_distance": 3, "class_weights": WEIGHTS}),
    LossCase(WeightedSum, {"losses": [CrossEntropy(), Dice("batch")], "weights": [1.0, 0.5], "name": "both"}),
    LossCase(BoundaryCrossEntropy, {"radius": 1, "num_classes": 3, "name": "edges"}, channels=1),
]

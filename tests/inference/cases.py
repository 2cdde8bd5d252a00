"""Cases of inference settings, on tiny images."""

import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.checks import Given, SpecCase
from tests.exporting.toys import image, network
from tfseg.inference import Crf, Ensemble, Inference, Predictor, Proposals

REFINED = Crf(parameters="deeplab_v1", iterations=3)
WINDOWS = Proposals(min_side=9, size=16)
FOLDER = tempfile.TemporaryDirectory()
BOXES = Path(FOLDER.name, "boxes.csv")
BOXES.write_text("image,left,top,right,bottom\na,0,0,20,20\n")
PROBABILITIES = np.random.default_rng(0).dirichlet(np.ones(3), (1, 12, 16)).astype("float32")


def refined(crf: Crf) -> np.ndarray:
    """Refines an image eagerly: tracing a graph per set of parameters takes ten times as long."""
    tf.config.run_functions_eagerly(True)
    try:
        return crf(PROBABILITIES, image(0, 12, 16)[None])
    finally:
        tf.config.run_functions_eagerly(False)


CASES = [
    SpecCase(
        Inference(),
        None,
        {
            "size": 8,
            "samples": 3,
            "uncertainty": Given(True, {"samples": 3}),
            "proposals": WINDOWS,
            "crf": REFINED,
            "opacity": 0.9,
        },
        {"ensemble": "test_ensemble_of_runs"},
    ),
    SpecCase(
        REFINED,
        refined,
        {
            "parameters": "deeplab_v2_resnet101",
            "bilateral_weight": 0.5,
            "theta_alpha": 20.0,
            "theta_beta": 40.0,
            "spatial_weight": 0.5,
            "theta_gamma": 1.5,
            "normalization": "symmetric",
            "iterations": 2,
            "prune": 0.9,
        },
    ),
    SpecCase(
        WINDOWS,
        lambda proposals: Predictor(network(), proposals=proposals).scores(image(), "a"),
        {"boxes": BOXES, "scales": (0.5,), "count": 3, "min_side": 20, "size": 12, "merge": "mean"},
    ),
    SpecCase(
        Ensemble(network=Path.cwd() / "fcn.keras"),
        lambda ensemble: ensemble(np.array([1.0, 2.0]), np.array([3.0, -1.0])),
        {"merge": "score_product"},
        {"network": "test_ensemble_of_runs"},
    ),
]

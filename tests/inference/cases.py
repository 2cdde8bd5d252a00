"""How images are predicted, once and tiny."""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.checks import SpecCase
from tests.export.toys import image, network
from tfseg.inference import Crf, Ensemble, Inference, Predictor, Proposals, predict_files


def overlay(spec: Inference) -> np.ndarray:
    """The picture that a prediction lays over its image."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.png")
        Image.fromarray(image()).save(path)
        predictor = Predictor(network(), spec.sides, proposals=spec.proposals, crf=spec.crf)
        _, over = predict_files(predictor, [path], Path(folder, "out"), overlay=True, spec=spec)
        return np.asarray(Image.open(over))


REFINED = Crf(parameters="deeplab_v1")

CASES = [
    SpecCase(
        Inference(),
        overlay,
        {"size": 8, "opacity": 0.9, "proposals": Proposals(min_side=9, size=16), "crf": REFINED},
        {
            "samples": "test_samples_are_averaged",
            "uncertainty": "test_uncertainty_maps_are_written",
            "ensemble": "test_runs_answer_together",
        },
    ),
    SpecCase(
        REFINED,
        lambda crf: Predictor(network(10), crf=crf).probabilities(image()),
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
        Proposals(min_side=9, size=16),
        lambda proposals: Predictor(network(), proposals=proposals).scores(image()),
        {"scales": (0.5,), "count": 3, "min_side": 20, "size": 12, "merge": "mean"},
        {"boxes": "test_files_are_predicted_under_their_names"},
    ),
    SpecCase(
        Ensemble(network=Path.cwd() / "fcn.keras"),
        lambda ensemble: ensemble(np.array([1.0, 2.0]), np.array([3.0, -1.0])),
        {"rule": "score_product"},
        {"network": "test_runs_answer_together"},
    ),
]

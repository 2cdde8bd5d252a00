"""How images are predicted, once and tiny."""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.checks import SpecCase
from tests.export.toys import image, network
from tfseg.inference import Inference, Predictor, predict_files


def overlay(spec: Inference) -> np.ndarray:
    """The picture that a prediction lays over its image."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.png")
        Image.fromarray(image()).save(path)
        _, over = predict_files(Predictor(network(), spec.sides), [path], Path(folder, "out"), overlay=True, spec=spec)
        return np.asarray(Image.open(over))


CASES = [
    SpecCase(
        Inference(),
        overlay,
        {"size": 8, "opacity": 0.9},
        {"samples": "test_samples_are_averaged", "uncertainty": "test_uncertainty_maps_are_written"},
    )
]

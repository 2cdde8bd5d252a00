"""A trained network put to use: images in, masks out."""

from tfseg.inference.predictor import Predictor
from tfseg.inference.reading import read_image
from tfseg.inference.spec import Inference
from tfseg.inference.writing import predict_files

__all__ = ["Inference", "Predictor", "predict_files", "read_image"]

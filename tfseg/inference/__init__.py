"""Inference with a trained network: images in, masks out."""

from tfseg.inference.crf import Crf
from tfseg.inference.ensemble import Ensemble
from tfseg.inference.predictor import Predictor, check_partner
from tfseg.inference.proposals import Proposals
from tfseg.inference.reading import read_image
from tfseg.inference.spec import Inference
from tfseg.inference.writing import predict_files

__all__ = ["Crf", "Ensemble", "Inference", "Predictor", "Proposals", "check_partner", "predict_files", "read_image"]

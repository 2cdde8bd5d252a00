"""Training through Keras's `compile` and `fit`."""

from tfseg.training.checkpoints import save_model
from tfseg.training.failures import explain, explained
from tfseg.training.state import State, restore
from tfseg.training.training import Training

__all__ = ["State", "Training", "explain", "explained", "restore", "save_model"]

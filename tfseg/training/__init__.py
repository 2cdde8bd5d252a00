"""Training with Keras's `compile` and `fit`."""

from tfseg.training.averaging import average_weights
from tfseg.training.batch_norm import estimate_batch_norm
from tfseg.training.checkpoints import save_model
from tfseg.training.failures import explain
from tfseg.training.initial import source_file
from tfseg.training.signals import Signals
from tfseg.training.state import State, restore
from tfseg.training.training import Training

__all__ = [
    "Signals", "State", "Training", "average_weights", "estimate_batch_norm", "explain", "restore", "save_model",
    "source_file",
]  # fmt: skip

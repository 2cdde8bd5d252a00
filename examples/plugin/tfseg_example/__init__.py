"""Minimal custom components, one per slot of a pipeline file.

Each is a spec: a frozen dataclass whose fields are the keys in the file, with the methods that its slot requires. A
layer of a graph is a Keras layer, whose spec is derived from its constructor.
"""

from tfseg_example.data import Exposure, OneHigher, Quarters, Stripes
from tfseg_example.layers import Softcap
from tfseg_example.network import Linear, Nearest, Smoothed, TwoStages
from tfseg_example.training import Exponential, Lion, Poly, WorstIoU

COMPONENTS = {
    "source": [Stripes],
    "mask": [OneHigher],
    "boxes": [Quarters],
    "augment": [Exposure],
    "backbone": [TwoStages],
    "decoder": [Linear],
    "head": [Nearest],
    "refine": [Smoothed],
    "layers": [Softcap],
    "optimizer": [Lion],
    "schedule": [Exponential],
    "loss": [Poly],
    "auxiliary_loss": [Poly],
    "metrics": [WorstIoU],
}

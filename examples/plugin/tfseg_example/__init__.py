"""One component of your own for each slot of a pipeline file: the least that each needs.

Each is a spec: a frozen value whose fields are what the file may say, and which does the work when it is called. A
layer of a graph is a plain Keras layer: its spec is derived from its constructor.
"""

from tfseg_example.data import Gamma, OneHigher, Quarters, Stripes
from tfseg_example.layers import Softcap
from tfseg_example.network import Linear, Nearest, Smoothed, TwoStages
from tfseg_example.training import Cosine, Focal, Lion

COMPONENTS = {
    "source": [Stripes],
    "mask": [OneHigher],
    "boxes": [Quarters],
    "augment": [Gamma],
    "backbone": [TwoStages],
    "decoder": [Linear],
    "head": [Nearest],
    "refine": [Smoothed],
    "layers": [Softcap],
    "optimizer": [Lion],
    "schedule": [Cosine],
    "loss": [Focal],
}

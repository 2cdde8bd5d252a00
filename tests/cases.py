"""Every public layer, loss, metric and spec, once and tiny.

Each room keeps its own list `CASES` in `tests/<room>/cases.py`; this module gathers them, and adds the two specs that
belong to no room. A new public name needs a case, or `tests/test_cases.py` says which one is missing.
"""

import importlib
from pathlib import Path
from typing import Any

from tests.checks import LayerCase, LossCase, MetricCase, SpecCase
from tfseg.backbones import SmallCnn
from tfseg.data import Data, Shapes
from tfseg.labels import Labels
from tfseg.models import Segmenter
from tfseg.models.decoders import Fcn
from tfseg.pipeline import Pipeline

LABELS = Labels(names=("ground", "disc"), colours=((0, 0, 0), (9, 8, 7)))
PIPELINE = Pipeline(
    name="tiny",
    labels=LABELS,
    data=Data(source=Shapes(size=(32, 32)), batch_size=2),
    model=Segmenter(backbone=SmallCnn(), decoder=Fcn(strides=(16,), upsampling="resize")),
)

ROOT = [
    SpecCase(
        LABELS,
        lambda labels: (labels.names, labels.count, labels.ignore, labels.palette),
        {"names": ("ground", "ring"), "ignore": 254, "colours": None},
    ),
    SpecCase(
        PIPELINE,
        lambda pipeline: pipeline.build().get_layer("logits").output.shape,
        {"labels": Labels(names=("ground", "disc", "ring"))},
        elsewhere=dict.fromkeys(
            ("name", "seed", "data", "model", "training", "inference", "export", "plugins"), "test_every_option_matters"
        ),
    ),
]

ROOMS = sorted(file.parent.name for file in Path(__file__).parent.glob("*/cases.py"))
ALL: list[Any] = [*ROOT, *(case for room in ROOMS for case in importlib.import_module(f"tests.{room}.cases").CASES)]

LAYERS = [case for case in ALL if isinstance(case, LayerCase)]
LOSSES = [case for case in ALL if isinstance(case, LossCase)]
METRICS = [case for case in ALL if isinstance(case, MetricCase)]
SPECS = [case for case in ALL if isinstance(case, SpecCase)]

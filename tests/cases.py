"""Small test cases of every public layer, loss, metric and spec.

Each package has a list `CASES` in `tests/<package>/cases.py`. This module collects them and adds the two specs of the
top-level modules. A new public name needs a case; otherwise `tests/test_cases.py` fails and lists it.
"""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.checks import LayerCase, LossCase, MetricCase, SpecCase
from tests.data.cases import SCENES
from tests.exporting.cases import EXPORT
from tfseg.backbones import SmallCnn
from tfseg.inference import Inference
from tfseg.labels import Labels
from tfseg.models import Graph, Segmenter
from tfseg.models.decoders import Fcn
from tfseg.pipeline import Pipeline
from tfseg.training import Training

LABELS = Labels(names=("ground", "disc"), colors=((0, 0, 0), (9, 8, 7)))
PIPELINE = Pipeline(
    name="tiny",
    labels=LABELS,
    data=SCENES,
    model=Graph(
        layers=(
            {"name": "conv", "layer": "conv", "filters": 4, "kernel_size": 3, "padding": "same"},
            {"name": "norm", "layer": "batch_normalization"},
            {"name": "drop", "layer": "mc_dropout", "rate": 0.5},
            {"name": "score", "layer": "conv", "filters": "${classes}", "kernel_size": 1},
        )
    ),
    export=EXPORT,
)
"""Pipeline whose sections are the values of their own cases."""

ROOT = [
    SpecCase(LABELS, None, {"names": ("ground", "ring"), "ignore": 254, "colors": None}),
    SpecCase(
        PIPELINE,
        None,
        {
            "name": "other",
            "seed": 1,
            "labels": Labels(names=("ground", "disc", "ring")),
            "data": replace(SCENES, batch_size=3),
            "model": Segmenter(backbone=SmallCnn(filters=2), decoder=Fcn(strides=(16,))),
            "training": Training(epochs=2),
            "inference": Inference(opacity=0.9),
            "export": replace(EXPORT, tolerance=0.001),
            "plugins": ("a_plugin_of_tests",),
        },
    ),
]

PACKAGES = sorted(file.parent.name for file in Path(__file__).parent.glob("*/cases.py"))
ALL: list[Any] = [
    *ROOT,
    *(case for package in PACKAGES for case in importlib.import_module(f"tests.{package}.cases").CASES),
]

LAYERS = [case for case in ALL if isinstance(case, LayerCase)]
LOSSES = [case for case in ALL if isinstance(case, LossCase)]
METRICS = [case for case in ALL if isinstance(case, MetricCase)]
SPECS = [case for case in ALL if isinstance(case, SpecCase)]

"""Every public layer, loss, metric and spec, once and tiny.

Each room keeps its own list `CASES` in `tests/<room>/cases.py`; this module only gathers them. A new public name needs
a case there, or `tests/test_cases.py` says which one is missing.
"""

import importlib
from pathlib import Path
from typing import Any

from tests.checks import LayerCase, LossCase, MetricCase, SpecCase

ROOMS = sorted(file.parent.name for file in Path(__file__).parent.glob("*/cases.py"))
ALL: list[Any] = [case for room in ROOMS for case in importlib.import_module(f"tests.{room}.cases").CASES]

LAYERS = [case for case in ALL if isinstance(case, LayerCase)]
LOSSES = [case for case in ALL if isinstance(case, LossCase)]
METRICS = [case for case in ALL if isinstance(case, MetricCase)]
SPECS = [case for case in ALL if isinstance(case, SpecCase)]

"""Declarative semantic segmentation for TensorFlow and Keras 3, from one YAML file per network.

Names are imported on first access (PEP 562), so that `import tfseg` does not load TensorFlow, which takes seconds.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tfseg.errors import DataError, ExportError, RunError, TfsegError, WeightsError
    from tfseg.labels import Labels
    from tfseg.pipeline import Pipeline, load, retarget
    from tfseg.runs.directory import Run, load_model
    from tfseg.runs.evaluate import evaluate
    from tfseg.runs.export import export
    from tfseg.runs.fit import fit
    from tfseg.runs.import_weights import import_weights
    from tfseg.runs.predict import iter_predict, predict
    from tfseg.runs.tune_crf import tune_crf
    from tfseg.spec.problems import SpecError

_MODULES = {
    "DataError": "tfseg.errors",
    "ExportError": "tfseg.errors",
    "Labels": "tfseg.labels",
    "Pipeline": "tfseg.pipeline",
    "Run": "tfseg.runs.directory",
    "RunError": "tfseg.errors",
    "SpecError": "tfseg.spec.problems",
    "TfsegError": "tfseg.errors",
    "WeightsError": "tfseg.errors",
    "evaluate": "tfseg.runs.evaluate",
    "export": "tfseg.runs.export",
    "fit": "tfseg.runs.fit",
    "import_weights": "tfseg.runs.import_weights",
    "iter_predict": "tfseg.runs.predict",
    "load": "tfseg.pipeline",
    "load_model": "tfseg.runs.directory",
    "predict": "tfseg.runs.predict",
    "retarget": "tfseg.pipeline",
    "tune_crf": "tfseg.runs.tune_crf",
}
_PACKAGES = {
    "backbones",
    "data",
    "exporting",
    "inference",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "runs",
    "spec",
    "training",
    "weights",
}

__all__ = [
    "DataError",
    "ExportError",
    "Labels",
    "Pipeline",
    "Run",
    "RunError",
    "SpecError",
    "TfsegError",
    "WeightsError",
    "evaluate",
    "export",
    "fit",
    "import_weights",
    "iter_predict",
    "load",
    "load_model",
    "predict",
    "retarget",
    "tune_crf",
]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _MODULES:
        value = getattr(importlib.import_module(_MODULES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_PACKAGES})

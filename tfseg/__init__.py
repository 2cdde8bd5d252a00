"""Declarative semantic segmentation for TensorFlow and Keras 3: one YAML file trains, evaluates, predicts and exports.

Names are imported when they are asked for (PEP 562): TensorFlow takes seconds to load, and `import tfseg` must not.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tfseg.errors import DataError, ExportError, RunError, TfsegError, WeightsError
    from tfseg.importing import import_weights
    from tfseg.labels import Labels
    from tfseg.pipeline import Pipeline, load, retarget
    from tfseg.run import Run, evaluate, export, fit, iter_predict, load_model, predict
    from tfseg.spec.validate import SpecError
    from tfseg.tuning import tune_crf

_HOMES = {
    "DataError": "tfseg.errors",
    "ExportError": "tfseg.errors",
    "Labels": "tfseg.labels",
    "Pipeline": "tfseg.pipeline",
    "Run": "tfseg.run",
    "RunError": "tfseg.errors",
    "SpecError": "tfseg.spec.validate",
    "TfsegError": "tfseg.errors",
    "WeightsError": "tfseg.errors",
    "evaluate": "tfseg.run",
    "fit": "tfseg.run",
    "import_weights": "tfseg.importing",
    "iter_predict": "tfseg.run",
    "load": "tfseg.pipeline",
    "load_model": "tfseg.run",
    "predict": "tfseg.run",
    "retarget": "tfseg.pipeline",
    "tune_crf": "tfseg.tuning",
}
_ROOMS = {
    "backbones",
    "checkpoints",
    "data",
    "export",
    "inference",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "spec",
    "training",
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


class _Verb(ModuleType):
    """The package `tfseg.export`, which is also the verb `tfseg.export(run)`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return importlib.import_module("tfseg.run").export(*args, **kwargs)


class _Package(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        """Whoever imports `tfseg.export` first, the import system binds it here, and it becomes callable."""
        if name == "export" and isinstance(value, ModuleType):
            value.__class__ = _Verb
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_ROOMS})

"""Predictors of trained networks, with their inference settings."""

import os
from dataclasses import replace
from pathlib import Path

from tfseg.inference import Ensemble, Inference, Predictor
from tfseg.runs.directory import Run, network, run_of

Source = str | os.PathLike[str] | Run


def predictor_of(path: Path, settings: Inference, seed: int, *, allow_plugins: bool = False) -> Predictor:
    """Returns the predictor of the network at `path`. `allow_plugins` applies to an ensemble's second network."""
    return settings.open(path, seed, partner(settings.ensemble, allow_plugins) if settings.ensemble else None)


def partner(ensemble: Ensemble, allow_plugins: bool = False) -> Predictor:
    """Returns the predictor of an ensemble's second network, with its own settings except for ensemble and CRF."""
    run = run_of(ensemble.network, allow_plugins=allow_plugins)
    settings = replace(run.pipeline.inference, ensemble=None, crf=None) if run else Inference()
    return predictor_of(network(ensemble.network), settings, run.pipeline.seed if run else 0)

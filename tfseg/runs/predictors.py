"""A trained network put to use as its run, or whoever asks, says."""

import os
from dataclasses import replace
from pathlib import Path

from tfseg.inference import Ensemble, Inference, Predictor
from tfseg.runs.directory import Run, network, run_of

Source = str | os.PathLike[str] | Run


def predictor_of(path: Path, use: Inference, seed: int, *, allow_plugins: bool = False) -> Predictor:
    """The network at `path`, used as `use` says; its ensemble's second network may need plugins too."""
    return use.open(path, seed, partner(use.ensemble, allow_plugins) if use.ensemble else None)


def partner(ensemble: Ensemble, allow_plugins: bool = False) -> Predictor:
    """The second network of an ensemble, used as its own pipeline says, but alone and unrefined."""
    run = run_of(ensemble.network, allow_plugins=allow_plugins)
    use = replace(run.pipeline.inference, ensemble=None, crf=None) if run else Inference()
    return predictor_of(network(ensemble.network), use, run.pipeline.seed if run else 0)

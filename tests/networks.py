"""Networks of pipelines for tests: narrow versions of shipped ones, and full-width ones built once per session."""

import functools
from pathlib import Path

import keras

from tfseg.models.describe import Description, describe
from tfseg.pipeline import Pipeline, load
from tfseg.symbolic import symbolically

NARROW = {
    "alexnet": {"width_multiplier": 0.25},
    "contracting_path": {"filters": 8},
    "googlenet": {"width_multiplier": 0.25},
    "mobilenet_v2": {"width_multiplier": 0.35},
    "resnet": {"width_multiplier": 0.125, "depth": 50},
    "small_cnn": {"filters": 8},
    "vgg16": {"width_multiplier": 0.125},
    "deconvnet": {"filters": 128},
    "deeplab_v1": {"filters": 16},
    "deeplab_v3": {"filters": 32},
    "deeplab_v3_plus": {"filters": 32},
    "pspnet": {"filters": 32},
}
"""Options that reduce each backbone and decoder for tests."""


def narrow(file: str | Path, *overrides: str) -> Pipeline:
    """Returns a shipped pipeline with fewer channels and random weights."""
    model = load(file).model
    parts = [(slot, getattr(model, slot)) for slot in ("backbone", "decoder") if hasattr(model, slot)]
    thinner = [
        f"model.{slot}.{key}={value}" for slot, part in parts for key, value in NARROW.get(part.type, {}).items()
    ]
    if parts:
        thinner += ["model.backbone.weights=null"]
    if getattr(parts and model.decoder, "filters", None):
        thinner += ["model.decoder.filters=64"]
    return load(file, (*thinner, *overrides))


@functools.cache
def symbolic(file: str | Path, *overrides: str) -> keras.Model:
    """Returns the symbolic network of a pipeline, built once per session."""
    return symbolically(load(file, overrides).build)


@functools.cache
def described(file: str | Path, *overrides: str) -> Description:
    """Returns the description of a symbolic network."""
    return describe(symbolic(file, *overrides))

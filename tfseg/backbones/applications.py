"""ImageNet weights by way of `keras.applications`: from the network, or from a file that was fetched before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import keras

from tfseg.backbones.weights import check_exists
from tfseg.errors import WeightsError


def classifier(build: Callable[..., keras.Model], weights: Literal["imagenet"] | Path, **arguments: Any) -> keras.Model:
    """The published classifier `build(weights=…, **arguments)`.

    Raises:
        WeightsError: the weights cannot be fetched, or the file does not fit.
    """
    if isinstance(weights, Path):
        check_exists(weights)
    try:
        return build(weights=weights if weights == "imagenet" else str(weights), **arguments)
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise WeightsError(_explanation(build.__name__, weights, error)) from error


def _explanation(name: str, weights: str | Path, error: Exception) -> str:
    if isinstance(weights, Path):
        return f"{weights}: these weights do not fit keras.applications.{name}: {error}"
    return (
        f"The ImageNet weights of keras.applications.{name} could not be fetched: {error}. "
        "Connect to the network, or fetch the .h5 file elsewhere and set model.backbone.weights to its path."
    )

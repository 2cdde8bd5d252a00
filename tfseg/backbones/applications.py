"""ImageNet weights of `keras.applications`, downloaded or from a local file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from tfseg.errors import WeightsError


def classifier(build: Callable[..., keras.Model], weights: str | Path, **arguments: Any) -> keras.Model:
    """Returns the published classifier `build(weights=…, **arguments)`.

    Raises:
        WeightsError: If the weights cannot be downloaded, or the file does not fit.
    """
    try:
        return build(weights=weights if weights == "imagenet" else str(weights), **arguments)
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise WeightsError(_explanation(build.__name__, weights, error)) from error


def _explanation(name: str, weights: str | Path, error: Exception) -> str:
    if isinstance(weights, Path):
        return f"{weights}: weights do not fit keras.applications.{name}: {error}"
    return (
        f"The ImageNet weights of keras.applications.{name} could not be downloaded: {error}. "
        "Connect to the internet, or download the .h5 file elsewhere and set model.backbone.weights to its path."
    )

"""ImageNet weights by way of `keras.applications`: from the network, or from a file that was fetched before."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras

from tfseg.errors import WeightsError
from tfseg.spec.problems import FieldProblem


def classifier(build: Callable[..., keras.Model], weights: str | Path, **arguments: Any) -> keras.Model:
    """The published classifier `build(weights=…, **arguments)`.

    Raises:
        WeightsError: the weights cannot be fetched, or the file does not fit.
    """
    try:
        return build(weights=weights if weights == "imagenet" else str(weights), **arguments)
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise WeightsError(_explanation(build.__name__, weights, error)) from error


def imagenet_problems(weights: str | Path | None, channels: int) -> Iterator[FieldProblem]:
    """What keeps ImageNet weights from reading images of that many channels, as (path, message)."""
    if weights == "imagenet" and channels != 3:
        message = f"ImageNet weights read 3 channels, the images have {channels}; set backbone.weights to null"
        yield ("weights",), message


def _explanation(name: str, weights: str | Path, error: Exception) -> str:
    if isinstance(weights, Path):
        return f"{weights}: these weights do not fit keras.applications.{name}: {error}"
    return (
        f"The ImageNet weights of keras.applications.{name} could not be fetched: {error}. "
        "Connect to the network, or fetch the .h5 file elsewhere and set model.backbone.weights to its path."
    )

"""Metadata of an artifact that can be read without tfseg: labels and the record of the comparison."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfseg
from tfseg.exporting.verify import Comparison
from tfseg.images import EIGHT_BITS, ImageValues
from tfseg.images.values import values_fields
from tfseg.labels import LABELS, Labels, labels_text

RECORD = "export.json"


def append_labels(tflite: Path, labels: Labels, values: ImageValues = EIGHT_BITS) -> None:
    """Adds labels.json to a TFLite file as an associated file, in a zip archive appended to the network.

    Any zip reader can read it. Interpreters ignore data after the network.
    """
    with zipfile.ZipFile(tflite, "a") as archive:
        archive.writestr(LABELS, labels_text(labels, values_fields(values)))


def record_text(comparisons: tuple[Comparison, ...], metadata: Mapping[str, Any]) -> str:
    """Returns the JSON text of the comparisons, the versions of the packages and the metadata."""
    record = {"comparisons": [asdict(one) for one in comparisons], "versions": versions(), **metadata}
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def versions() -> dict[str, str]:
    """Returns the versions of the packages in use."""
    packages = {"tfseg": tfseg, "tensorflow": tf, "keras": keras, "numpy": np}
    return {name: package.__version__ for name, package in packages.items()}

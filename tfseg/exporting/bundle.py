"""What lies beside the weights in an artifact, for readers that do not know tfseg: classes, and how it was checked."""

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
from tfseg.labels import LABELS, Labels, labels_text

RECORD = "export.json"


def append_labels(tflite: Path, labels: Labels) -> None:
    """Puts labels.json into a TFLite file, as TFLite keeps associated files: a zip archive after the network.

    Any zip reader finds it there; an interpreter does not look past the network.
    """
    with zipfile.ZipFile(tflite, "a") as archive:
        archive.writestr(LABELS, labels_text(labels))


def record_text(comparisons: tuple[Comparison, ...], metadata: Mapping[str, Any]) -> str:
    """What was compared and with which result, the versions that wrote it, and what the caller knows of its origin."""
    record = {"comparisons": [asdict(one) for one in comparisons], "versions": versions(), **metadata}
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def versions() -> dict[str, str]:
    """What computes here."""
    packages = {"tfseg": tfseg, "tensorflow": tf, "keras": keras, "numpy": np}
    return {name: package.__version__ for name, package in packages.items()}

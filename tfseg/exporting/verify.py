"""Verification of artifacts: their outputs, computed in an isolated process, are compared with those of the model."""

import io
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from tfseg.errors import ExportError
from tfseg.exporting.signatures import Signatures
from tfseg.images import EIGHT_BITS, ImageValues
from tfseg.images.native import dtype_of
from tfseg.images.npy import MAGIC as NUMPY

ISOLATED_WORKER = Path(__file__).with_name("isolated_worker.py")
ORIENTATION = 0x0112
"""EXIF tag of the orientation."""
PNG_CHANNELS = (1, 3, 4)
"""Numbers of channels of images that are encoded as PNG."""
SMALL = (97, 129)
"""Height and width of the small, odd-sized crops that test other sizes and a batch of two."""

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """Comparison of an artifact's outputs with those of the model."""

    artifact: str
    """Kind of artifact: SavedModel or TFLite file."""
    images: int
    """Number of images."""
    pixels: int
    """Number of pixels."""
    mask_agreement: float
    """Fraction of pixels with the same class."""
    wrong: int
    """Number of pixels with another class that the tolerance does not explain."""
    largest_difference: float
    """Largest absolute difference of a probability."""

    def passes(self, tolerance: float) -> bool:
        """Returns whether the artifact matches the model. It does not if a difference is NaN."""
        return self.wrong == 0 and self.largest_difference <= tolerance

    def __str__(self) -> str:
        return (
            f"{self.artifact}: masks agree on {self.mask_agreement:.4%} of {self.pixels:,} pixels, "
            f"probabilities differ by at most {self.largest_difference:.1e} ({self.images} images)"
        )


def comparison_inputs(
    images: Sequence[np.ndarray], channels: int, size: tuple[int, int] | None
) -> dict[str, np.ndarray]:
    """Returns the image batches and encoded files on which the artifacts are compared with the model.

    They are: each image at its own size; a batch of two small, odd-sized crops; one batch of files (PNGs of the first
    image and of a crop, `.npy` for dtypes and numbers of channels that PNG does not have, and a JPEG of a crop of uint8
    with 1 or 3 channels, with an EXIF rotation); and each image at the size of the TFLite file, if there is one.
    """
    small = images[0][: SMALL[0], : SMALL[1]]
    inputs = {f"saved/{index}": image[None] for index, image in enumerate(images)}
    inputs[f"saved/{len(images)}"] = np.stack([small, small[::-1, ::-1]])
    for index, image in enumerate((images[0], small)):
        inputs[f"encoded/{index}"] = np.frombuffer(_file(image), np.uint8)
    if channels in (1, 3) and small.dtype == np.uint8:
        inputs["encoded/2"] = np.frombuffer(_with_rotation(tf.io.encode_jpeg(small).numpy()), np.uint8)
    if size is not None:
        inputs |= {f"tflite/{index}": _sampled(image, size)[None] for index, image in enumerate(images)}
    return inputs


def expected_outputs(
    model: keras.Model,
    inputs: Arrays,
    inference_size: tuple[int, int] | None = None,
    values: ImageValues = EIGHT_BITS,
) -> dict[str, np.ndarray]:
    """Computes the outputs of the model for all inputs: `<key>/mask` and `<key>/probabilities`.

    Inputs of the SavedModel are resized to `inference_size`, if given.

    The outputs are computed on the CPU, as in the isolated process: by default, GPUs multiply float32 with a mantissa
    of 10 bits (TF32).
    """
    masks, expected = {}, {}
    with tf.device("CPU:0"):
        for key, value in inputs.items():
            size = None if key.startswith("tflite/") else inference_size
            signatures = Signatures(model, size=size, values=values)
            scores = signatures.scores(tf.constant(_decoded(key, value, signatures.channels)))
            masks[f"{key}/mask"] = signatures.mask(scores).numpy()
            expected[f"{key}/probabilities"] = signatures.normalized(scores).numpy()
    if not all(np.isfinite(probabilities).all() for probabilities in expected.values()):
        raise ExportError(
            "the model's probabilities are not finite, so that artifacts cannot be compared with it. "
            "Export a checkpoint from before the training diverged."
        )
    return masks | expected


def run_artifacts(saved_model: Path, tflite: Path | None, inputs: Arrays) -> dict[str, np.ndarray]:
    """Computes the outputs of the artifacts in a process that can import neither tfseg nor Keras.

    The new process runs on the CPU, because the current one may have allocated all GPU memory.
    """
    buffer = io.BytesIO()
    np.savez(buffer, **inputs)  # type: ignore[arg-type]
    command = [sys.executable, "-P", str(ISOLATED_WORKER), str(saved_model), *([str(tflite)] if tflite else [])]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, input=buffer.getvalue(), capture_output=True, env=environment, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ExportError(
            "the export cannot be used without tfseg: an isolated process failed to load and run it "
            f"(exit code {done.returncode}): {''.join(last)}"
        )
    with np.load(io.BytesIO(done.stdout)) as archive:
        return dict(archive)


def compare(
    artifact: str, prefixes: tuple[str, ...], expected: Arrays, outputs: Arrays, tolerance: float
) -> Comparison:
    """Compares the outputs of an artifact with the expected ones, for all keys that start with one of `prefixes`.

    A class counts as wrong only if the model's two highest probabilities differ by more than twice `tolerance`: if they
    are closer, their order may change although neither differs from that of the artifact by more than `tolerance`. A
    threshold on the mask agreement would reject a model with many pixels whose two probabilities are close.

    Raises:
        ExportError: If an output has an unexpected shape.
    """
    keys = [key.removesuffix("/mask") for key in expected if key.startswith(prefixes) and key.endswith("/mask")]
    same, wrong, largest = zip(
        *(_compare_key(artifact, key, expected, outputs, tolerance) for key in keys), strict=True
    )
    pixels = sum(expected[f"{key}/mask"].size for key in keys)
    images = sum(len(expected[f"{key}/mask"]) for key in keys)
    return Comparison(artifact, images, pixels, sum(same) / pixels, sum(wrong), float(np.max(largest)))


def _compare_key(
    artifact: str, key: str, expected: Arrays, outputs: Arrays, tolerance: float
) -> tuple[int, int, float]:
    """Returns the numbers of equal and of wrong classes and the largest difference of a probability for one key."""
    probabilities, mask = expected[f"{key}/probabilities"], expected[f"{key}/mask"]
    second, first = np.moveaxis(np.partition(probabilities, -2)[..., -2:], -1, 0)
    exact = {"confidence": first, "probabilities": probabilities}
    received = {name: outputs[f"{key}/{name}"] for name in ("mask", *exact) if f"{key}/{name}" in outputs}
    for name, value in received.items():
        _check_shape(artifact, name, value.shape, probabilities.shape if name == "probabilities" else mask.shape)
    same = (
        received["mask"] == mask
        if "mask" in received
        else received["probabilities"].argmax(-1) == probabilities.argmax(-1)
    )
    largest = [np.abs(received[name] - exact[name]).max() for name in exact if name in received]
    return int(same.sum()), int((~same & (first - second > 2 * tolerance)).sum()), float(np.max([0.0, *largest]))


def _check_shape(artifact: str, name: str, received: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if received != expected:
        raise ExportError(
            f"the output `{name}` of the {artifact} has another shape than that of the model: received {received}, "
            f"expected {expected}. A layer of the network probably fixes the image or batch size."
        )


def _file(image: np.ndarray) -> bytes:
    """Encodes an image as PNG, or as `.npy` if PNG does not have its dtype or number of channels."""
    if image.dtype in (np.uint8, np.uint16) and image.shape[-1] in PNG_CHANNELS:
        return bytes(tf.io.encode_png(image).numpy())
    buffer = io.BytesIO()
    np.save(buffer, image)
    return buffer.getvalue()


def _decoded(key: str, value: np.ndarray, channels: int) -> np.ndarray:
    """Returns the image batch of an input.

    Encoded files are decoded by NumPy and Pillow, independently of the artifact, except for PNG files of 16 bits,
    since Pillow reduces those with colors to 8.
    """
    if not key.startswith("encoded/"):
        return value
    data = value.tobytes()
    if data.startswith(NUMPY):
        return np.load(io.BytesIO(data))[None]
    if dtype_of(data) == "uint16":
        return tf.io.decode_png(data, channels, tf.uint16).numpy()[None]
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(ImageOps.exif_transpose(image))
    return pixels.reshape((1, *pixels.shape[:2], channels))


def _with_rotation(jpeg: bytes) -> bytes:
    """Adds the EXIF orientation 6 (rotated by 90 degrees) after the first marker of a JPEG file."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    block = exif.tobytes()
    return jpeg[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + jpeg[2:]


def _sampled(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes `image` by sampling pixels."""
    rows, columns = (np.arange(side) * given // side for side, given in zip(size, image.shape, strict=False))
    return image[rows][:, columns]

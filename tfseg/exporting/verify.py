"""The gate: an artifact is loaded in an isolated process and has to answer as the model does."""

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
from tfseg.exporting.signatures import DECODABLE, Signatures

ISOLATED_WORKER = Path(__file__).with_name("isolated_worker.py")
ORIENTATION = 0x0112
"""The tag of EXIF."""
SMALL = (97, 129)
"""Sides of a small odd crop: it shows that sizes may vary, in a batch of two, at little cost."""

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """How far an artifact's answers lie from the model's."""

    artifact: str
    """SavedModel or TFLite."""
    images: int
    pixels: int
    mask_agreement: float
    """The share of all pixels whose class is the same."""
    wrong: int
    """How many pixels differ though the model's two best classes are clearly apart there."""
    largest_difference: float
    """Of any probability of any pixel."""

    def passes(self, tolerance: float) -> bool:
        """Whether nothing is wrong. A difference that is not a number passes nothing."""
        return self.wrong == 0 and self.largest_difference <= tolerance

    def __str__(self) -> str:
        return (
            f"{self.artifact}: masks agree on {self.mask_agreement:.4%} of {self.pixels:,} pixels, "
            f"probabilities differ by at most {self.largest_difference:.1e} ({self.images} images)"
        )


def questions(images: Sequence[np.ndarray], channels: int, size: tuple[int, int] | None) -> dict[str, np.ndarray]:
    """The image batches and files that the model and its artifacts are asked about.

    Each image at its own size; a batch of two small crops of odd size; the first and a small one as PNG files, and a
    JPEG that a camera took upright, in one batch, where files have that many channels; each image at the TFLite file's
    size, if there is one.
    """
    small = images[0][: SMALL[0], : SMALL[1]]
    asked = {f"saved/{index}": image[None] for index, image in enumerate(images)}
    asked[f"saved/{len(images)}"] = np.stack([small, small[::-1, ::-1]])
    if channels in DECODABLE:
        for index, image in enumerate((images[0], small)):
            asked[f"encoded/{index}"] = np.frombuffer(tf.io.encode_png(image).numpy(), np.uint8)
        if channels != 4:
            asked["encoded/2"] = np.frombuffer(_turned(tf.io.encode_jpeg(small).numpy()), np.uint8)
    if size is not None:
        asked |= {f"tflite/{index}": _sampled(image, size)[None] for index, image in enumerate(images)}
    return asked


def expectations(model: keras.Model, asked: Arrays, seen: tuple[int, int] | None = None) -> dict[str, np.ndarray]:
    """The model's own answers to every question: `<key>/mask` and `<key>/probabilities`.

    `seen` is the size at which the network of the SavedModel sees every image, if there is one.

    On the processor, as the isolated worker computes: a GPU multiplies float32 with a mantissa of 10 bits unless told
    otherwise, which is a matter of the device and none of the artifact.
    """
    masks, expected = {}, {}
    with tf.device("CPU:0"):
        for key, question in asked.items():
            signatures = Signatures(model, size=None if key.startswith("tflite/") else seen)
            scores = signatures.scores(tf.constant(_decoded(key, question, signatures.channels)))
            masks[f"{key}/mask"] = signatures.mask(scores).numpy()
            expected[f"{key}/probabilities"] = signatures.normalized(scores).numpy()
    if not all(np.isfinite(probabilities).all() for probabilities in expected.values()):
        raise ExportError(
            "the model itself gives probabilities that are not finite, so that nothing can be compared with them. "
            "Export a checkpoint from before the training went wrong."
        )
    return masks | expected


def ask(saved_model: Path, tflite: Path | None, asked: Arrays) -> dict[str, np.ndarray]:
    """The artifacts' answers, from a process that cannot import tfseg and sees no GPU (this one may have filled it)."""
    buffer = io.BytesIO()
    np.savez(buffer, **asked)  # type: ignore[arg-type]
    command = [sys.executable, "-P", str(ISOLATED_WORKER), str(saved_model), *([str(tflite)] if tflite else [])]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, input=buffer.getvalue(), capture_output=True, env=environment, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ExportError(
            "the export cannot be used without tfseg: a process of its own failed to load and run it "
            f"(exit code {done.returncode}): {''.join(last)}"
        )
    with np.load(io.BytesIO(done.stdout)) as archive:
        return dict(archive)


def compare(
    artifact: str, prefixes: tuple[str, ...], expected: Arrays, answers: Arrays, tolerance: float
) -> Comparison:
    """Holds the answers to every question that starts with one of `prefixes` against what was expected.

    A class is wrong only where the model's two best probabilities are more than twice `tolerance` apart: closer ones
    may change places without either having moved by more than `tolerance`. So no threshold on the share of agreeing
    pixels would be right for a model that is undecided in many places, and past that margin not one pixel may differ.

    Raises:
        ExportError: an answer has another shape than the question.
    """
    keys = [key.removesuffix("/mask") for key in expected if key.startswith(prefixes) and key.endswith("/mask")]
    same, wrong, largest = zip(*(_tally(artifact, key, expected, answers, tolerance) for key in keys), strict=True)
    pixels = sum(expected[f"{key}/mask"].size for key in keys)
    images = sum(len(expected[f"{key}/mask"]) for key in keys)
    return Comparison(artifact, images, pixels, sum(same) / pixels, sum(wrong), float(np.max(largest)))


def _tally(artifact: str, key: str, expected: Arrays, answers: Arrays, tolerance: float) -> tuple[int, int, float]:
    """For one question: how many classes are the same, how many wrong, and the largest difference of a probability."""
    probabilities, mask = expected[f"{key}/probabilities"], expected[f"{key}/mask"]
    second, first = np.moveaxis(np.partition(probabilities, -2)[..., -2:], -1, 0)
    exact = {"confidence": first, "probabilities": probabilities}
    found = {name: answers[f"{key}/{name}"] for name in ("mask", *exact) if f"{key}/{name}" in answers}
    for name, answer in found.items():
        _check_shape(artifact, name, answer.shape, probabilities.shape if name == "probabilities" else mask.shape)
    same = found["mask"] == mask if "mask" in found else found["probabilities"].argmax(-1) == probabilities.argmax(-1)
    largest = [np.abs(found[name] - exact[name]).max() for name in exact if name in found]
    return int(same.sum()), int((~same & (first - second > 2 * tolerance)).sum()), float(np.max([0.0, *largest]))


def _check_shape(artifact: str, name: str, received: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if received != expected:
        raise ExportError(
            f"the {artifact} gives `{name}` of another shape than the model: received {received}, expected {expected}. "
            "A layer of the network has probably fixed the size of image or batch."
        )


def _decoded(key: str, question: np.ndarray, channels: int) -> np.ndarray:
    """The image batch of a question: an encoded file is decoded, by Pillow and not as the artifact does it."""
    if not key.startswith("encoded/"):
        return question
    with Image.open(io.BytesIO(question.tobytes())) as picture:
        pixels = np.asarray(ImageOps.exif_transpose(picture))
    return pixels.reshape((1, *pixels.shape[:2], channels))


def _turned(jpeg: bytes) -> bytes:
    """The file with the note of a camera that was held upright: EXIF orientation 6, behind the first marker."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    block = exif.tobytes()
    return jpeg[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + jpeg[2:]


def _sampled(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`image` at another size by picking pixels: to compare on, it need not look good."""
    rows, columns = (np.arange(side) * given // side for side, given in zip(size, image.shape, strict=False))
    return image[rows][:, columns]

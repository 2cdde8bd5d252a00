"""Runs on images of 16 bits: training, evaluation, prediction and export with `data.value_range`."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfseg
from tfseg.cli.commands import main
from tfseg.errors import DataError, RunError
from tfseg.images import ImageValues
from tfseg.inference import Predictor
from tfseg.pipeline import load

DEEP = """\
name: deep
labels: {names: [dark, bright]}
data:
  source: {type: folder}
  root: FOLDER
  crop: 16
  batch_size: 4
  value_range: [0, 51000]
model: {type: graph, layers: [{name: score, layer: conv, filters: 2, kernel_size: 1}]}
training: {epochs: 1}
export: {examples: 1}
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline, and PNG files of 16 bits in which the value tells the class."""
    folder, rng = tmp_path_factory.mktemp("deep"), np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for part in ("images", "masks"):
            (folder / split / part).mkdir(parents=True)
        for number in range(count):
            mask = rng.integers(0, 2, (20 + number, 24), np.uint8)
            image = (mask[..., None].astype(int) * 30000 + rng.integers(0, 25000, (*mask.shape, 3))).astype(np.uint16)
            (folder / split / "images" / f"{number}.png").write_bytes(tf.io.encode_png(image).numpy())
            Image.fromarray(mask).save(folder / split / "masks" / f"{number}.png")
    (folder / "deep.yaml").write_text(DEEP.replace("FOLDER", str(folder)))
    return folder / "deep.yaml"


@pytest.fixture(scope="module")
def run(file: Path) -> tfseg.Run:
    return tfseg.fit(load(file), file.parent / "run", verbose=False)


def test_a_run_records_dtype_and_range(run: tfseg.Run) -> None:
    fields = json.loads((run.folder / "labels.json").read_text())
    assert (fields["dtype"], fields["value_range"]) == ("uint16", [0, 51000])
    predictor = Predictor.open(run.best)
    assert predictor.values == ImageValues("uint16", (0, 51000))
    assert predictor.labels is not None and predictor.labels.names == ("dark", "bright")


def test_evaluation_is_that_of_the_model_on_mapped_images(run: tfseg.Run, file: Path) -> None:
    model, confusion = run.model(), np.zeros((2, 2), int)
    for path in sorted((file.parent / "val/images").iterdir()):
        image = tf.io.decode_png(path.read_bytes(), 3, tf.uint16).numpy()
        mapped = np.clip(image.astype(np.float64) * 255 / 51000, 0, 255)
        predicted = model(mapped[None].astype(np.float32)).numpy()[0].argmax(-1)
        np.testing.assert_array_equal(Predictor.open(run.best).predict(image), predicted)
        truth = np.asarray(Image.open(file.parent / "val/masks" / path.name))
        np.add.at(confusion, (truth, predicted), 1)
    assert run.metrics["val"]["confusion"] == confusion.tolist()


def test_evaluation_with_another_range_is_refused(run: tfseg.Run, file: Path) -> None:
    pipeline = load(file, ["data.value_range=[0, 65535]"])
    with pytest.raises(RunError, match=r"takes images of uint16 from \[0.0, 51000.0\]. Received: images of uint16"):
        tfseg.evaluate(run, pipeline=pipeline)
    arrays = np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 8, 8), np.uint8)
    with pytest.raises(DataError, match="data: data from Python have values from 0 to 255"):
        tfseg.evaluate(run, data=arrays)


@pytest.mark.slow
@pytest.mark.usefixtures("one_isolated_worker")
def test_artifacts_have_the_metrics_of_the_run(run: tfseg.Run, file: Path, tmp_path: Path) -> None:
    report = tfseg.export(run, tmp_path / "out")
    saved = tfseg.evaluate(report.folder, pipeline=run.pipeline)
    assert saved["confusion"] == run.metrics["val"]["confusion"]
    (file.parent / "val").rename(file.parent / "away")
    try:
        synthetic = tfseg.export(run, tmp_path / "out", ["data.root=" + str(tmp_path / "none")])
    finally:
        (file.parent / "away").rename(file.parent / "val")
    assert synthetic.synthetic and synthetic.comparisons[0].wrong == 0


@pytest.mark.slow
def test_commands(run: tfseg.Run, file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image = file.parent / "val/images/0.png"
    assert main(["predict", str(run.folder), str(image), "--output", str(tmp_path), "--overlay"]) == 0
    pixels = tf.io.decode_png(image.read_bytes(), 3, tf.uint16).numpy()
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "0.png")), Predictor.open(run.best).predict(pixels))
    assert main(["data", "check", str(file)]) == 0
    assert main(["data", "show", str(file), "--output", str(tmp_path / "sheet.png")]) == 0
    capfd.readouterr()
    assert main(["fit", str(file), "--run-dir", str(tmp_path / "run"), "data.value_range=null"]) == 1
    assert "0.png: the image has 16 bits per channel" in capfd.readouterr().err


def test_import_needs_the_training_images(file: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", **{"score/kernel": np.zeros((1, 1, 3, 2)), "score/bias": np.zeros(2)})
    pipeline = load(file, ["data.root=" + str(tmp_path / "none")])
    with pytest.raises(RunError) as error:
        tfseg.import_weights(pipeline, tmp_path / "w.npz", tmp_path / "run")
    assert str(error.value) == (
        "data.value_range: the dtype of the images is read from the first training image, but data.root is not set or "
        "no folder. Add data.root=FOLDER to the command."
    )
    tfseg.import_weights(load(file), tmp_path / "w.npz", tmp_path / "run")
    assert Predictor.open(tfseg.Run(tmp_path / "run").best).values == ImageValues("uint16", (0, 51000))

"""`tfseg.tune_crf`: the search, its output files and its errors."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

import tfseg
from tests.exporting.toys import network
from tfseg.cli.commands import main
from tfseg.inference import Crf, crf_search
from tfseg.inference.crf_search import DEEPLAB, Setting, checked_ranges, max_settings, search
from tfseg.pipeline import Pipeline, load
from tfseg.runs import tune_crf as tuning
from tfseg.runs.directory import PIPELINE
from tfseg.spec.show import dump

TINY = """\
name: tiny
labels: {names: [ground, disc, square]}
data: {source: {type: shapes, size: 32, train: 4, val: 5}, batch_size: 2}
model: {type: graph, layers: [{name: score, layer: conv, filters: "${classes}", kernel_size: 1}]}
"""
ONE: dict[str, tuple[float, float, float]] = {
    "theta_alpha": (8, 8, 0), "theta_beta": (20, 20, 0), "bilateral_weight": (2, 2, 0),
}  # fmt: skip
"""Ranges with a single setting."""


def saved(folder: Path, *overrides: str, model: keras.Model | None = None) -> Path:
    """Creates a run directory of an untrained network."""
    folder.mkdir()
    (folder.parent / "tiny.yaml").write_text(TINY)
    (folder / PIPELINE).write_text(dump(load(folder.parent / "tiny.yaml", overrides)))
    (model or network(seed=1)).save(folder / "model.keras")
    return folder


def label_maps(pipeline: Pipeline) -> dict[bytes, np.ndarray]:
    """Returns the label maps of the validation images by the bytes of the image."""
    pairs = pipeline.data.open(pipeline.labels).evaluation("val").as_numpy_iterator()
    return {image[0].tobytes(): mask[0] for image, mask in pairs}


class Noisy:
    """A predictor that returns the label map with a random class at every fifth pixel."""

    def __init__(self, labels: dict[bytes, np.ndarray]) -> None:
        self.labels = labels
        self.names: list[str] = []

    def probabilities(self, image: np.ndarray, name: str) -> np.ndarray:
        self.names.append(name)
        mask = self.labels[image.tobytes()]
        rng = np.random.default_rng(int(name.removeprefix("val_")))
        noisy = np.where(rng.random(mask.shape) < 0.2, rng.integers(0, 3, mask.shape), mask)
        return np.float32([0.2, 0.6])[(noisy[..., None] == np.arange(3)).astype(int)]


# Search.


def test_search_tries_each_setting_once_and_returns_the_best() -> None:
    tried: list[Setting] = []
    goal = {"theta_alpha": 67, "theta_beta": 3.2, "bilateral_weight": 4.5, "spatial_weight": 3, "theta_gamma": 3}

    def score(setting: Setting) -> float:
        tried.append(setting)
        return -sum(abs(setting[name] - value) / value for name, value in goal.items())

    found = search(score, DEEPLAB)
    steps = {"theta_alpha": 2.5, "theta_beta": 0.25, "bilateral_weight": 0.25}
    assert all(abs(found[name] - goal[name]) <= step / 2 for name, step in steps.items())
    assert (found["spatial_weight"], found["theta_gamma"]) == (3, 3)
    assert len({tuple(setting.values()) for setting in tried}) == len(tried) <= max_settings(DEEPLAB)
    assert tried[0] == {**goal, "theta_alpha": 70, "theta_beta": 5, "bilateral_weight": 5}, "the middle"
    assert tried == list(_again(score, tried))


def _again(score: Any, tried: list[Setting]) -> list[Setting]:
    before = list(tried)
    tried.clear()
    search(score, DEEPLAB)
    assert tried == before
    return before


def test_search_may_leave_the_ranges_but_stays_valid() -> None:
    ranges = checked_ranges({"theta_beta": (1, 3, 1), "bilateral_weight": (0, 2, 1)})
    found = search(lambda setting: setting["theta_alpha"] - setting["theta_beta"] - setting["bilateral_weight"], ranges)
    assert found["theta_alpha"] == 115 and 0 < found["theta_beta"] < 1 and found["bilateral_weight"] == 0


def test_ties_keep_the_first_setting() -> None:
    assert search(lambda setting: 0.5, DEEPLAB) == {name: steps.values()[len(steps.values()) // 2]
                                                     for name, steps in DEEPLAB.items()}  # fmt: skip


# Function and command.


@pytest.mark.slow
def test_tuned_crf_improves_the_miou(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Isolated wrong pixels between clean edges are easy to correct for a CRF."""
    folder = saved(tmp_path / "run")
    noisy = Noisy(label_maps(tfseg.Run(folder).pipeline))
    monkeypatch.setattr(tuning, "predictor_of", lambda *_, **__: noisy)
    monkeypatch.setattr(crf_search, "HALVINGS", 1)
    lines: list[str] = []
    ranges = {**ONE, "bilateral_weight": (0, 4, 2.0), "spatial_weight": (0, 0, 0)}
    report = tfseg.tune_crf(folder, images=3, ranges=ranges, log=lines.append)
    mious = [each["miou"] for each in report["tried"]]
    assert report["after"]["miou"] == pytest.approx(max(mious)) and max(mious) > min(mious)
    assert report["after"]["miou"] > report["before"]["miou"] + 0.1
    assert report["after"]["trimap_miou"]["1"] > report["before"]["trimap_miou"]["1"]
    worst = report["tried"][mious.index(min(mious))]
    assert worst["bilateral_weight"] == 0 and min(mious) == pytest.approx(report["before"]["miou"])
    assert tfseg.tune_crf(folder, images=3, ranges=ranges, output=tmp_path / "again.yaml") == report, "deterministic"
    assert noisy.names[:3] == noisy.names[3:] == ["val_000000", "val_000002", "val_000004"], (
        "each evenly spaced image once"
    )
    assert lines[:2] == ["val: 3 of 5 images", f"without a CRF: mIoU {report['before']['miou']:.4f}"]
    assert len(lines) == 2 + len(mious) and lines[2].startswith(
        "1 of at most 9: theta_alpha 8, theta_beta 20, bilateral_weight 2, spatial_weight 0, theta_gamma 3: mIoU "
    )


def test_evaluate_with_the_tuned_pipeline_gives_the_reported_metrics(tmp_path: Path) -> None:
    """The reported metrics are those of `evaluate`, without and with the tuned CRF. Other settings are unchanged."""
    folder = saved(tmp_path / "run", "inference={size: 24, crf: {parameters: pydensecrf, iterations: 2}}")
    report = tfseg.tune_crf(folder, ranges=ONE)
    assert json.loads((folder / "crf.json").read_text()) == report
    tuned = load(folder / "crf.yaml")
    assert tuned.inference.crf == Crf(
        theta_alpha=8, theta_beta=20, bilateral_weight=2, spatial_weight=3, theta_gamma=3,
        normalization="symmetric", iterations=2,
    )  # fmt: skip
    assert tuned.inference.size == 24 and tuned.model == tfseg.Run(folder).pipeline.model
    for key, settings in (("before", replace(tuned.inference, crf=None)), ("after", tuned.inference)):
        metrics = tfseg.evaluate(folder, inference=settings)
        assert metrics["miou"] == pytest.approx(report[key]["miou"], abs=5e-4)
        assert metrics["boundary"]["trimap_miou"] == pytest.approx(report[key]["trimap_miou"], abs=5e-4)
    assert abs(report["before"]["miou"] - report["after"]["miou"]) > 1e-3
    assert not (folder / "metrics-val.json").exists(), "a run directory has metrics of its own pipeline only"


@pytest.mark.slow
def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = saved(tmp_path / "run")
    ranges = [f"--range={name}={values[0]}" for name, values in ONE.items()]
    assert main(["tune-crf", str(folder), "--images", "2", *ranges]) == 0
    output = capsys.readouterr().out
    report = json.loads((folder / "crf.json").read_text())
    assert f"  miou            {report['before']['miou']:.4f}   {report['after']['miou']:.4f}\n" in output
    assert "  bilateral_weight  2.0\n" in output and output.endswith(f"Pipeline saved to {folder}/crf.yaml\n")
    improved = report["after"]["miou"] > report["before"]["miou"]
    assert ("No CRF setting improves the mIoU." in output) is not improved
    path = tmp_path / "a.png"
    image, _ = next(
        tfseg.Run(folder).pipeline.data.open(load(folder / PIPELINE).labels).evaluation("val").as_numpy_iterator()
    )
    Image.fromarray(image[0]).save(path)
    masks = []
    for name, options in (("plain", []), ("refined", ["--inference", str(folder / "crf.yaml")])):
        assert main(["predict", str(folder), str(path), "--output", str(tmp_path / name), *options]) == 0
        masks.append(np.asarray(Image.open(tmp_path / name / "a.png")))
    assert np.any(masks[0] != masks[1])
    assert main(["tune-crf", str(folder), "--range", "theta_alpha=1:2"]) == 2
    assert "Expected NAME=FIRST:LAST:STEP or NAME=VALUE. Received: theta_alpha=1:2" in capsys.readouterr().err


# Errors.


def error_of(folder: Path, split: str | None = None, **options: Any) -> str:
    """Returns the message of the error that `tfseg.tune_crf` raises."""
    with pytest.raises(tfseg.TfsegError) as error:
        tfseg.tune_crf(folder, split, **options)
    return str(error.value)


def test_existing_outputs_are_kept_without_overwrite(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run")
    (folder / "crf.json").write_text("of an earlier search")
    assert error_of(folder) == (
        f"{folder}/crf.json: already exists. Choose another --output, or replace it with --overwrite."
    )
    assert error_of(folder, output=tmp_path / "crf.json") == (
        f"{tmp_path}/crf.json: is not the name of a pipeline file. Expected .yaml. Choose another --output."
    )
    tfseg.tune_crf(folder, images=1, ranges=ONE, overwrite=True)
    assert json.loads((folder / "crf.json").read_text())["images"] == 1


def test_runs_that_cannot_be_tuned(tmp_path: Path) -> None:
    assert error_of(tmp_path).startswith(f"{tmp_path}: is not a run directory.")
    folder = saved(tmp_path / "run")
    assert error_of(folder, "vall") == 'no split "vall"; expected one of: train, val, test; did you mean "val"?'
    (folder / "model.keras").unlink()
    assert error_of(folder) == (
        f"{folder}: has no model.keras, because no epoch was completed. Train it first: tfseg fit FILE "
        f"--run-dir {folder} --resume"
    )
    four = saved(tmp_path / "four", "data.source.channels=4", "model.channels=4", model=network(3, 4))
    assert error_of(four) == (
        f"{four}: a CRF cannot be tuned: a CRF needs gray or RGB images, with 1 or 3 channels. "
        "Received: images with 4 channels"
    )
    assert list(tmp_path.glob("*/crf*")) == []


def test_images_without_labeled_pixels(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for part, mode in (("images", "RGB"), ("masks", "L")):
            (tmp_path / "data" / split / part).mkdir(parents=True)
            Image.new(mode, (16, 16), 0 if part == "images" else "white").save(
                tmp_path / "data" / split / part / "a.png"
            )
    folder = saved(tmp_path / "run", f"data={{root: {tmp_path}/data, source: folder}}")
    assert error_of(folder, ranges=ONE) == (
        f"{folder}: the images chosen from the split 'val' (1) have no labeled pixels to evaluate a CRF on. Choose "
        "another --split, or more --images."
    )
    (tmp_path / "data" / "val" / "masks" / "a.png").unlink()
    assert error_of(folder, ranges=ONE) == (
        f"{tmp_path}/data/val/images/a.png: has no mask. Expected `val/masks/a.png`. Add the mask or remove the image."
    )
    assert not (folder / "crf.yaml").exists()


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        (
            {"sigma": (1, 2, 1)},
            "--range: expected one of theta_alpha, theta_beta, bilateral_weight, spatial_weight, theta_gamma. "
            "Received: sigma",
        ),
        *(
            (
                {"theta_beta": values},
                "--range theta_beta: expected FIRST:LAST:STEP, ascending, with positive thetas and nonnegative "
                f"weights. Received: {received}",
            )
            for values, received in (((0, 2, 1), "0:2:1"), ((3, 2, 1), "3:2:1"), ((1, 2, -1), "1:2:-1"))
        ),
    ],
)
def test_invalid_ranges(ranges: Any, message: str, tmp_path: Path) -> None:
    assert error_of(saved(tmp_path / "run"), ranges=ranges) == message

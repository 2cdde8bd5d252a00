"""`tune-crf`: the search, what it leaves behind, and what is refused."""

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
from tfseg.inference.crf_search import DEEPLAB, Setting, checked, most, search
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
"""A search of one setting."""


def saved(folder: Path, *overrides: str, model: keras.Model | None = None) -> Path:
    """A run directory of a network that was trained elsewhere."""
    folder.mkdir()
    (folder.parent / "tiny.yaml").write_text(TINY)
    (folder / PIPELINE).write_text(dump(load(folder.parent / "tiny.yaml", overrides)))
    (model or network(seed=1)).save(folder / "model.keras")
    return folder


def truths(pipeline: Pipeline) -> dict[bytes, np.ndarray]:
    pairs = pipeline.data.open(pipeline.labels).evaluation("val").as_numpy_iterator()
    return {image[0].tobytes(): mask[0] for image, mask in pairs}


class Noisy:
    """A network that knows the truth, and mistakes every fifth pixel for another."""

    def __init__(self, known: dict[bytes, np.ndarray]) -> None:
        self.known = known
        self.seen: list[str] = []

    def probabilities(self, image: np.ndarray, name: str) -> np.ndarray:
        self.seen.append(name)
        truth = self.known[image.tobytes()]
        rng = np.random.default_rng(int(name.removeprefix("val_")))
        wrong = np.where(rng.random(truth.shape) < 0.2, rng.integers(0, 3, truth.shape), truth)
        return np.float32([0.2, 0.6])[(wrong[..., None] == np.arange(3)).astype(int)]


# The search.


def test_every_setting_is_asked_for_once_and_the_best_is_found() -> None:
    asked: list[Setting] = []
    goal = {"theta_alpha": 67, "theta_beta": 3.2, "bilateral_weight": 4.5, "spatial_weight": 3, "theta_gamma": 3}

    def score(setting: Setting) -> float:
        asked.append(setting)
        return -sum(abs(setting[name] - value) / value for name, value in goal.items())

    found = search(score, DEEPLAB)
    steps = {"theta_alpha": 2.5, "theta_beta": 0.25, "bilateral_weight": 0.25}
    assert all(abs(found[name] - goal[name]) <= step / 2 for name, step in steps.items())
    assert (found["spatial_weight"], found["theta_gamma"]) == (3, 3)
    assert len({tuple(setting.values()) for setting in asked}) == len(asked) <= most(DEEPLAB)
    assert asked[0] == {**goal, "theta_alpha": 70, "theta_beta": 5, "bilateral_weight": 5}, "the middle"
    assert asked == list(_again(score, asked))


def _again(score: Any, asked: list[Setting]) -> list[Setting]:
    before = list(asked)
    asked.clear()
    search(score, DEEPLAB)
    assert asked == before
    return before


def test_it_leaves_the_range_but_not_what_is_allowed() -> None:
    ranges = checked({"theta_beta": (1, 3, 1), "bilateral_weight": (0, 2, 1)})
    found = search(lambda setting: setting["theta_alpha"] - setting["theta_beta"] - setting["bilateral_weight"], ranges)
    assert found["theta_alpha"] == 115 and 0 < found["theta_beta"] < 1 and found["bilateral_weight"] == 0


def test_of_equals_the_first_stays() -> None:
    assert search(lambda setting: 0.5, DEEPLAB) == {name: steps.values()[len(steps.values()) // 2]
                                                     for name, steps in DEEPLAB.items()}  # fmt: skip


# The verb.


@pytest.mark.slow
def test_a_crf_that_helps_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Single wrong pixels within clean edges are what a CRF is for."""
    folder = saved(tmp_path / "run")
    noisy = Noisy(truths(tfseg.Run(folder).pipeline))
    monkeypatch.setattr(tuning, "predictor_of", lambda *_, **how: noisy)
    monkeypatch.setattr(crf_search, "HALVINGS", 1)
    lines: list[str] = []
    ranges = {**ONE, "bilateral_weight": (0, 4, 2.0), "spatial_weight": (0, 0, 0)}
    report = tfseg.tune_crf(folder, images=3, ranges=ranges, tell=lines.append)
    mious = [each["miou"] for each in report["tried"]]
    assert report["after"]["miou"] == pytest.approx(max(mious)) and max(mious) > min(mious)
    assert report["after"]["miou"] > report["before"]["miou"] + 0.1
    assert report["after"]["trimap_miou"]["1"] > report["before"]["trimap_miou"]["1"]
    worst = report["tried"][mious.index(min(mious))]
    assert worst["bilateral_weight"] == 0 and min(mious) == pytest.approx(report["before"]["miou"])
    assert tfseg.tune_crf(folder, images=3, ranges=ranges, output=tmp_path / "again.yaml") == report, "twice the same"
    assert noisy.seen[:3] == noisy.seen[3:] == ["val_000000", "val_000002", "val_000004"], (
        "each evenly spaced image once"
    )
    assert lines[:2] == ["val: 3 of 5 images", f"without a CRF: mIoU {report['before']['miou']:.4f}"]
    assert len(lines) == 2 + len(mious) and lines[2].startswith(
        "1 of at most 9: theta_alpha 8, theta_beta 20, bilateral_weight 2, spatial_weight 0, theta_gamma 3: mIoU "
    )


def test_what_it_leaves_is_what_evaluate_applies(tmp_path: Path) -> None:
    """The figures are those of `evaluate`, without and with what was found; nothing else changes."""
    folder = saved(tmp_path / "run", "inference={size: 24, crf: {parameters: pydensecrf, iterations: 2}}")
    report = tfseg.tune_crf(folder, ranges=ONE)
    assert json.loads((folder / "crf.json").read_text()) == report
    tuned = load(folder / "crf.yaml")
    assert tuned.inference.crf == Crf(
        theta_alpha=8, theta_beta=20, bilateral_weight=2, spatial_weight=3, theta_gamma=3,
        normalization="symmetric", iterations=2,
    )  # fmt: skip
    assert tuned.inference.size == 24 and tuned.model == tfseg.Run(folder).pipeline.model
    for figures, how in (("before", replace(tuned.inference, crf=None)), ("after", tuned.inference)):
        measured = tfseg.evaluate(folder, inference=how)
        assert measured["miou"] == pytest.approx(report[figures]["miou"], abs=5e-4)
        assert measured["boundary"]["trimap_miou"] == pytest.approx(report[figures]["trimap_miou"], abs=5e-4)
    assert abs(report["before"]["miou"] - report["after"]["miou"]) > 1e-3
    assert not (folder / "metrics-val.json").exists(), "a run keeps figures of its own pipeline only"


@pytest.mark.slow
def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = saved(tmp_path / "run")
    ranges = [f"--range={name}={values[0]}" for name, values in ONE.items()]
    assert main(["tune-crf", str(folder), "--images", "2", *ranges]) == 0
    said = capsys.readouterr().out
    report = json.loads((folder / "crf.json").read_text())
    assert f"  miou            {report['before']['miou']:.4f}   {report['after']['miou']:.4f}\n" in said
    assert "  bilateral_weight  2.0\n" in said and said.endswith(f"Written to {folder}/crf.yaml\n")
    helps = report["after"]["miou"] > report["before"]["miou"]
    assert ("No CRF that was tried does better than none." in said) is not helps
    picture = tmp_path / "a.png"
    image, _ = next(
        tfseg.Run(folder).pipeline.data.open(load(folder / PIPELINE).labels).evaluation("val").as_numpy_iterator()
    )
    Image.fromarray(image[0]).save(picture)
    masks = []
    for name, how in (("plain", []), ("refined", ["--inference", str(folder / "crf.yaml")])):
        assert main(["predict", str(folder), str(picture), "--output", str(tmp_path / name), *how]) == 0
        masks.append(np.asarray(Image.open(tmp_path / name / "a.png")))
    assert np.any(masks[0] != masks[1])
    assert main(["tune-crf", str(folder), "--range", "theta_alpha=1:2"]) == 2
    assert "Expected NAME=FIRST:LAST:STEP or NAME=VALUE. Received: theta_alpha=1:2" in capsys.readouterr().err


# What is refused.


def refusal(folder: Path, split: str | None = None, **how: Any) -> str:
    with pytest.raises(tfseg.TfsegError) as error:
        tfseg.tune_crf(folder, split, **how)
    return str(error.value)


def test_outputs_are_kept(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run")
    (folder / "crf.json").write_text("of an earlier search")
    assert refusal(folder) == (
        f"{folder}/crf.json: exists already. Choose another --output, or replace it with --overwrite."
    )
    assert refusal(folder, output=tmp_path / "crf.json") == (
        f"{tmp_path}/crf.json: a pipeline file ends in .yaml. Choose another --output."
    )
    tfseg.tune_crf(folder, images=1, ranges=ONE, overwrite=True)
    assert json.loads((folder / "crf.json").read_text())["images"] == 1


def test_runs_that_cannot_be_tuned(tmp_path: Path) -> None:
    assert refusal(tmp_path).startswith(f"{tmp_path}: is no run directory.")
    folder = saved(tmp_path / "run")
    assert refusal(folder, "vall") == 'no split "vall"; expected one of: train, val, test; did you mean "val"?'
    (folder / "model.keras").unlink()
    assert refusal(folder) == (
        f"{folder}: has no model.keras yet, because no epoch of its training has ended. Train it first: tfseg fit FILE "
        f"--run-dir {folder} --resume"
    )
    four = saved(tmp_path / "four", "data.source.channels=4", "model.channels=4", model=network(3, 4))
    assert refusal(four) == (
        f"{four}: a CRF cannot be tuned: the distance of two colors is that of gray or RGB images, of 1 or 3 "
        "channels; set it to null. Received: images of 4 channels"
    )
    assert list(tmp_path.glob("*/crf*")) == []


def test_images_without_labels(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for part, mode in (("images", "RGB"), ("masks", "L")):
            (tmp_path / "data" / split / part).mkdir(parents=True)
            Image.new(mode, (16, 16), 0 if part == "images" else "white").save(
                tmp_path / "data" / split / part / "a.png"
            )
    folder = saved(tmp_path / "run", f"data={{root: {tmp_path}/data, source: folder}}")
    assert refusal(folder, ranges=ONE) == (
        f"{folder}: the images that were taken of the split 'val', 1 in number, have no labeled pixel to measure a "
        "CRF by. Choose another --split, or more --images."
    )
    (tmp_path / "data" / "val" / "masks" / "a.png").unlink()
    assert refusal(folder, ranges=ONE) == (
        f"{tmp_path}/data/val/images/a.png: has no mask. Expected `val/masks/a.png`. Add the mask or remove the image."
    )
    assert not (folder / "crf.yaml").exists()


@pytest.mark.parametrize(
    ("ranges", "told"),
    [
        (
            {"sigma": (1, 2, 1)},
            "--range: expected one of theta_alpha, theta_beta, bilateral_weight, spatial_weight, theta_gamma. "
            "Received: sigma",
        ),
        *(
            (
                {"theta_beta": values},
                "--range theta_beta: expected FIRST:LAST:STEP, upwards, with thetas above zero and no weight below. "
                f"Received: {received}",
            )
            for values, received in (((0, 2, 1), "0:2:1"), ((3, 2, 1), "3:2:1"), ((1, 2, -1), "1:2:-1"))
        ),
    ],
)
def test_ranges_that_hold_nothing(ranges: Any, told: str, tmp_path: Path) -> None:
    assert refusal(saved(tmp_path / "run"), ranges=ranges) == told

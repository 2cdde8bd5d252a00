"""Losses, class weights, sampling and augmentation for rare classes, compared on CamVid for the same number of steps.

    python benchmarks/rare_classes.py CAMVID --weights FILE --output DIR [--seconds 600] [--seeds 0 1 2]

Trains `fcn_mobilenet_v2_camvid` with each recipe. The number of optimizer steps is `--seconds` of processor time
divided by that of a step of the plain recipe, measured over 20 steps, and is the same for all. The two best recipes on
the validation images, and the plain one, are trained with all seeds; only these are then evaluated on the test images,
once. Run directories and evaluations that are complete are not repeated, so that the script continues where it was
stopped. Prints a table: mIoU, IoU of the rare classes, boundary IoU, and expected calibration error.
"""

import argparse
import json
import os
import resource
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import tfseg
from tfseg.pipeline import Pipeline
from tfseg.runs.directory import METRICS, Run

PLAIN = "training.loss=cross_entropy"
AUGMENT = "{type: scale, min: 0.6, max: 1.4}, flip, color_jitter"
RARE = ("Pole", "SignSymbol", "Bicyclist")
RECIPES: dict[str, tuple[str, ...]] = {
    "plain": (PLAIN,),
    "class weights": (),
    "rare-class sampling": (
        PLAIN,
        "data.sampling={classes: balanced, temperature: 0.5}",
        "data.crop={size: [256, 256], around: rare, max_share: 0.75}",
    ),
    "copy_paste": (
        PLAIN,
        f"data.augment=[{AUGMENT}, {{type: copy_paste, classes: [Pole, SignSymbol, Bicyclist], shift: 0.2}}]",
    ),
    "dice + cross_entropy": ("training.loss={type: sum, terms: [{loss: cross_entropy}, {loss: dice}]}",),
    "focal": ("training.loss=focal",),
    "lovasz_softmax": ("training.loss=lovasz_softmax",),
    "ohem_cross_entropy": ("training.loss=ohem_cross_entropy",),
}


def loaded(options: argparse.Namespace, recipe: str, seed: int, steps: int) -> Pipeline:
    shared = (
        f"data.root={options.folder}",
        f"model.backbone.weights={options.weights}",
        f"seed={seed}",
        "training.epochs=null",
        f"training.steps={steps}",
        "training.validation_freq=100",
    )
    return tfseg.load("fcn_mobilenet_v2_camvid", (*shared, *RECIPES[recipe]))


class Processor(keras.callbacks.Callback):
    """Measures the processor seconds of a step: the mean of 20 steps after the first ten."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        self.seconds.append(used.ru_utime + used.ru_stime)

    @property
    def per_step(self) -> float:
        return (self.seconds[30] - self.seconds[10]) / 20


def number_of_steps(options: argparse.Namespace) -> int:
    """Returns the number of steps of all recipes, measured once."""
    file = options.output / "steps.json"
    if not file.is_file():
        processor = Processor()
        tfseg.fit(loaded(options, "plain", 0, 31), options.output / "timing", overwrite=True, callbacks=[processor])
        steps = max(round(options.seconds / processor.per_step), 1)
        file.write_text(json.dumps({"seconds_per_step": processor.per_step, "steps": steps}))
        print(f"{processor.per_step:.2f} processor seconds per step: {steps} steps", flush=True)
    return int(json.loads(file.read_text())["steps"])


def trained(options: argparse.Namespace, recipe: str, seed: int, steps: int) -> Path:
    """Trains a recipe, or continues its training, and returns its run directory."""
    folder = options.output / f"{recipe.replace(' ', '_')}-{seed}"
    if not (folder / METRICS.format(split="val")).is_file():
        print(f"{recipe}, seed {seed}", flush=True)
        started = any((folder / "state").glob("*.npz"))
        tfseg.fit(loaded(options, recipe, seed, steps), folder, resume=started, overwrite=not started)
    return folder


def evaluated(folder: Path, split: str) -> dict[str, Any]:
    """Returns the metrics of a run with the calibration error, measured once."""
    file = folder / f"calibrated-{split}.json"
    if not file.is_file():
        tfseg.evaluate(Run(folder), split, calibration=True, output=file)
    return dict(json.loads(file.read_text()))


def row(name: str, reports: list[dict[str, Any]]) -> str:
    values = [
        [
            report["miou"],
            *(report["per_class"][each] for each in RARE),
            report["boundary"]["iou"],
            report["calibration"]["expected_calibration_error"],
        ]
        for report in reports
    ]
    means, spread = np.mean(values, 0), np.ptp(values, 0)
    cells = [
        f"{mean:.3f}" + (f" ({each:.3f})" if len(values) > 1 else "") for mean, each in zip(means, spread, strict=True)
    ]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of CamVid")
    parser.add_argument("--weights", default="imagenet", help="file of ImageNet weights of MobileNetV2")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    steps, (first, *others) = number_of_steps(options), options.seeds
    reports = {recipe: [evaluated(trained(options, recipe, first, steps), "val")] for recipe in RECIPES}
    best = sorted((each for each in RECIPES if each != "plain"), key=lambda each: -reports[each][0]["miou"])[:2]
    chosen = ["plain", *best]
    for recipe in chosen:
        reports[recipe] += [evaluated(trained(options, recipe, seed, steps), "val") for seed in others]
    columns = [f"{steps} steps", "mIoU", *RARE, "boundary IoU", "calibration error"]
    title = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
    print(f"Validation; mean and, for several seeds, range\n{title}")
    print("\n".join(row(recipe, found) for recipe, found in reports.items()))
    print(f"Test; mean and range of seeds {options.seeds}\n{title}")
    for recipe in chosen:
        folders = [trained(options, recipe, seed, steps) for seed in options.seeds]
        print(row(recipe, [evaluated(folder, "test") for folder in folders]))


if __name__ == "__main__":
    main()

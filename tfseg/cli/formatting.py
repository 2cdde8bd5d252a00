"""Figures as lines of text."""

from collections.abc import Mapping
from typing import Any

MEANS = ("miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou")


def measured(report: Mapping[str, Any]) -> str:
    means = {name: f"{report[name]:.4f}" for name in MEANS} | at_boundaries(report["boundary"])
    classes = {name: "absent" if iou is None else f"{iou:.4f}" for name, iou in report["per_class"].items()}
    return "\n".join([f"{report['split']}: {report['images']} images", *table(means), "IoU", *table(classes)])


def compared(report: Mapping[str, Any]) -> str:
    """What a CRF changes."""
    before, after = report["before"], report["after"]
    lines = {"": "before   after", "miou": f"{before['miou']:.4f}   {after['miou']:.4f}"}
    for radius, figure in before["trimap_miou"].items():
        lines[f"trimap_miou {radius}"] = f"{figure:.4f}   {after['trimap_miou'][radius]:.4f}"
    crf = {name: str(value) for name, value in report["crf"].items() if value is not None}
    helped = [] if after["miou"] > before["miou"] else ["No CRF that was tried does better than none."]
    return "\n".join([f"{report['split']}: {report['images']} images", *table(lines), "CRF", *table(crf), *helped])


def at_boundaries(figures: Mapping[str, Any]) -> dict[str, str]:
    (near, low), *_, (far, high) = figures["trimap_miou"].items()
    return {
        "boundary_iou": f"{figures['iou']:.4f}",
        "trimap_miou": f"{low:.4f} within {near} pixel, {high:.4f} within {far}",
    }


def table(lines: Mapping[str, str]) -> list[str]:
    width = max(map(len, lines), default=0)
    return [f"  {name:<{width}}  {text}".rstrip() for name, text in lines.items()]

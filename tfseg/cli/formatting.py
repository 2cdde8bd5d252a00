"""Metrics formatted as lines of text."""

from collections.abc import Mapping
from typing import Any

MEANS = ("miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou", "dice", "precision", "recall")


def format_metrics(report: Mapping[str, Any]) -> str:
    """Formats the result of `tfseg.evaluate`."""
    means = {name: f"{report[name]:.4f}" for name in MEANS} | _format_boundary(report["boundary"])
    means |= _format_images(report["per_image"])
    if "calibration" in report:
        means["calibration_error"] = f"{report['calibration']['expected_calibration_error']:.4f}"
    classes = {name: "absent" if iou is None else f"{iou:.4f}" for name, iou in report["per_class"].items()}
    skipped = f", {report['skipped']} skipped" if report.get("skipped") else ""
    return "\n".join([f"{report['split']}: {report['images']} images{skipped}", *table(means), "IoU", *table(classes)])


def format_tuning(report: Mapping[str, Any]) -> str:
    """Formats the result of `tfseg.tune_crf`: the metrics without and with the CRF, and its parameters."""
    before, after = report["before"], report["after"]
    lines = {"": "before   after", "miou": f"{before['miou']:.4f}   {after['miou']:.4f}"}
    for radius, value in before["trimap_miou"].items():
        lines[f"trimap_miou {radius}"] = f"{value:.4f}   {after['trimap_miou'][radius]:.4f}"
    crf = {name: str(value) for name, value in report["crf"].items() if value is not None}
    note = [] if after["miou"] > before["miou"] else ["No CRF setting improves the mIoU."]
    return "\n".join([f"{report['split']}: {report['images']} images", *table(lines), "CRF", *table(crf), *note])


def _format_boundary(metrics: Mapping[str, Any]) -> dict[str, str]:
    (near, low), *_, (far, high) = metrics["trimap_miou"].items()
    return {
        "boundary_iou": f"{metrics['iou']:.4f}",
        "trimap_miou": f"{low:.4f} within {near} pixel, {high:.4f} within {far}",
    }


def _format_images(metrics: Mapping[str, float]) -> dict[str, str]:
    low, middle = (metrics[f"image_miou_p{each}"] for each in (5, 50))
    return {"image_miou": f"{metrics['image_miou']:.4f}, median {middle:.4f}, 5th percentile {low:.4f}"}


def table(lines: Mapping[str, str]) -> list[str]:
    """Formats names and texts as two indented columns."""
    width = max(map(len, lines), default=0)
    return [f"  {name:<{width}}  {text}".rstrip() for name, text in lines.items()]

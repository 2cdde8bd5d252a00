"""Tests that the headers of shipped pipelines agree with their settings."""

import re
from pathlib import Path

import pytest

from tfseg.pipeline import load
from tfseg.shipped import shipped


def header(file: Path) -> str:
    lines = [line.removeprefix("#").strip() for line in file.read_text().splitlines() if line.startswith("#")]
    return " ".join(lines)


@pytest.mark.parametrize("file", shipped(), ids=lambda file: file.stem)
def test_images_crops_and_steps_of_a_header(file: Path) -> None:
    text, pipeline = header(file), load(file)
    data, training = pipeline.data, pipeline.training
    cost = re.search(r" cost (.*?) expected ", text)
    assert cost is not None
    if "train_aug" in text:
        assert data.train_split == "train_aug"
    for count, *sides in re.findall(r"(\d+) crops of (\d+)x(\d+)", cost[1]):
        assert int(count) in (data.batch_size, data.batch_size * training.gradient_accumulation_steps)
        assert tuple(map(int, sides)) == data.crop_size
    if training.steps is not None and (count := re.search(r"([\d,]+) (?:updates|steps)", cost[1])):
        assert int(count[1].replace(",", "")) == training.steps

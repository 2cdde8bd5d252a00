"""Training input beside torch's DataLoader with albumentations: images per second, and processor time per image.

    python benchmarks/input.py FOLDER [--size 321] [--batch 8] [--cache] [--pairs 7] [--batches 100]

FOLDER has the layout of CamVid: `train` with images, `trainannot` with masks. Both read the same files and apply the
same operations: scale by 0.5 to 2, crop, horizontal flip and color jitter. With `--cache`, the files are decoded once
and kept in memory. The two are measured alternately; the results are medians, and the median of the ratios of the
pairs. Processor time is user and system time of the process and the workers that it started. The peer is skipped if
torch, albumentations and cv2 are not installed.
"""

import argparse
import os
import random
import resource
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tfseg.data import CamVid, ColorJitter, Data, Flip, Scale
from tfseg.labels import Labels

WORKERS = 2
LABELS = Labels(names=tuple(f"class {index}" for index in range(11)), ignore=11)
FILL = 115


@dataclass(frozen=True)
class Run:
    """Wall time and processor time of some images, in seconds."""

    images: int
    wall: float
    processor: float

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / self.wall

    @property
    def cost(self) -> float:
        """Processor time per image in milliseconds."""
        return 1e3 * self.processor / self.images


def ours(options: argparse.Namespace) -> Any:
    """Returns a function that starts the training input of tfseg."""
    augment = (Scale(min=0.5, max=2), Flip(), ColorJitter())
    data = Data(
        source=CamVid(), root=options.folder, crop=options.size, batch_size=options.batch, augment=augment,
        cache=options.cache,
    ).open(LABELS)  # fmt: skip
    return lambda: data.training(epochs=1_000_000).as_numpy_iterator()


def peer(options: argparse.Namespace) -> Any:
    """Returns a function that starts the DataLoader."""
    import albumentations
    import cv2
    import torch

    transform = albumentations.Compose(
        [
            albumentations.RandomScale((-0.5, 1.0), p=1),
            albumentations.PadIfNeeded(
                options.size, options.size, fill=FILL, fill_mask=LABELS.ignore, position="top_left"
            ),
            albumentations.RandomCrop(options.size, options.size),
            albumentations.HorizontalFlip(p=0.5),
            albumentations.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02, p=1),
        ]
    )

    class Files(torch.utils.data.Dataset):  # type: ignore[misc]
        def __init__(self) -> None:
            images = sorted((options.folder / "train").iterdir())
            self.files = [(str(image), str(options.folder / "trainannot" / f"{image.stem}.png")) for image in images]
            self.cache = [read(*pair) for pair in self.files] if options.cache else None

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            image, mask = self.cache[index] if self.cache else read(*self.files[index])
            result = transform(image=image, mask=mask)
            return result["image"], result["mask"].astype(np.int32)

    def read(image: str, mask: str) -> tuple[np.ndarray, np.ndarray]:
        return cv2.cvtColor(cv2.imread(image), cv2.COLOR_BGR2RGB), cv2.imread(mask, cv2.IMREAD_UNCHANGED)

    cv2.setNumThreads(1)  # before the workers are forked: OpenCV's threads do not survive a fork
    loader = torch.utils.data.DataLoader(
        Files(), options.batch, shuffle=True, num_workers=WORKERS, drop_last=True, worker_init_fn=random.seed,
        persistent_workers=True,
    )  # fmt: skip

    next(iter(loader))  # starts the workers

    def batches() -> Iterator[Any]:
        while True:
            yield from loader

    return batches


def measured(batches: Iterator[Any], count: int, batch: int) -> Run:
    """Measures `count` batches, after ten that are not counted."""
    for _ in islice(batches, 10):
        pass
    start, before = time.perf_counter(), processor_seconds()
    for _ in islice(batches, count):
        pass
    return Run(count * batch, time.perf_counter() - start, processor_seconds() - before)


def processor_seconds() -> float:
    """Returns the processor time of this process and of the child processes that are running."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime + sum(_seconds(child) for child in _children(os.getpid()))


def _children(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task").iterdir()
    found = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return found + [below for child in found for below in _children(child)]


def _seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def line(name: str, runs: list[Run]) -> str:
    rate, cost = (statistics.median(getattr(run, field) for run in runs) for field in ("rate", "cost"))
    return f"| {name} | {rate:.0f} | {cost:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=321, help="side of the crop")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--cache", action="store_true", help="keep the decoded files in memory")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--batches", type=int, default=100, help="batches per measurement")
    options = parser.parse_args()
    sources = {}
    try:
        sources["DataLoader and albumentations"] = peer(options)  # first: its workers are forks
    except ImportError as error:
        print(f"The peer is skipped: {error}. Install torch, albumentations==2.0.8 and opencv-python-headless.")
    sources = {"tfseg": ours(options), **sources}
    runs: dict[str, list[Run]] = {name: [] for name in sources}
    for _ in range(options.pairs):
        for name, start in sources.items():
            batches = start()
            runs[name].append(measured(batches, options.batches, options.batch))
            del batches
    print("| input | images/s | processor ms per image |\n|---|---|---|")
    for name, measurements in runs.items():
        print(line(name, measurements))
    if len(runs) == 2:
        ours_, theirs = runs.values()
        wall = statistics.median(one.rate / other.rate for one, other in zip(ours_, theirs, strict=True))
        processor = statistics.median(other.cost / one.cost for one, other in zip(ours_, theirs, strict=True))
        print(f"tfseg / peer: {wall:.2f} in images per second, {processor:.2f} per processor time")


if __name__ == "__main__":
    main()

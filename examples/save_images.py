"""Writes images of a split as PNG files.

python examples/save_images.py shapes --count 4 --output images
"""

import argparse
from pathlib import Path

import tfseg
from tfseg.images.overlay import write_image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pipeline", help="pipeline file, or bare name of a shipped pipeline")
    parser.add_argument("--split", default="val")
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    pipeline = tfseg.load(arguments.pipeline)
    data = pipeline.data.open(pipeline.labels)
    images = data.evaluation(arguments.split).take(arguments.count).as_numpy_iterator()
    for name, (image, _) in zip(data.names(arguments.split), images, strict=False):
        write_image(arguments.output / f"{Path(name).stem}.png", image[0])


if __name__ == "__main__":
    main()

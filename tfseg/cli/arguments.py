"""Command-line arguments: files, overrides and ranges."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import click

RANGE = "NAME=FIRST:LAST:STEP"
QUOTED = r'"(?:[^"\\]|\\.)*"|\'[^\']*\''
OVERRIDE = re.compile(rf"(?:[A-Za-z_]\w*|{QUOTED})(?:\.(?:[^\s.=\"':]+|{QUOTED}))*=")
"""Dotted path of keys. A key that contains a dot, a colon or an equals sign is quoted."""

VERBS = {
    "train": "fit",
    "eval": "evaluate",
    "val": "evaluate",
    "test": "evaluate",
    "infer": "predict",
    "inference": "predict",
    "segment": "predict",
    "convert": "export",
    "validate": "check",
    "config": "show",
    "ls": "list",
    "resume": "fit FILE --resume",
}
"""Commands of other tools, with their equivalents."""
OPTIONS = {
    "epochs": "training.epochs=3",
    "steps": "training.steps=1000",
    "lr": "training.optimizer.learning_rate=0.01",
    "learning-rate": "training.optimizer.learning_rate=0.01",
    "batch-size": "data.batch_size=4",
    "batch": "data.batch_size=4",
    "data": "data.root=FOLDER",
    "root": "data.root=FOLDER",
    "crop": "data.crop=256",
    "weights": "model.backbone.weights=FILE",
    "init-from": "training.init_from=runs/streets",
    "seed": "seed=1",
    "precision": "training.precision=mixed_float16",
    "crf": "inference.crf.parameters=deeplab_v1_largefov",
    "name": "name=streets",
    "pretrained": "model.backbone.weights=imagenet",
}
"""Options of other tools, with the overrides that replace them."""

files_and_overrides = click.argument("words", metavar="FILE... [KEY=VALUE]...", nargs=-1, required=True)
file_and_overrides = click.argument("words", metavar="FILE [KEY=VALUE]...", nargs=-1, required=True)
inference_option = click.option(
    "--inference",
    metavar="FILE",
    help="Pipeline file whose `inference` settings are applied. Default: the pipeline of the run.",
)
export_folder = click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("saved_models"),
    show_default=True,
    help="Base folder: artifacts are written to <output>/<name>/<version>.",
)
comparison_images = click.option(
    "--image",
    "images",
    metavar="IMAGE",
    multiple=True,
    help="Image to compare on; may be repeated. Default: validation images.",
)
allow_plugins = click.option("--allow-plugins", is_flag=True, help="Import the plugin modules that the pipeline lists.")


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits arguments in any order into files and overrides. An existing file is never an override."""
    overrides = [word for word in words if OVERRIDE.match(word) and not os.path.lexists(word)]
    return [word for word in words if word not in overrides], overrides


def one(words: Sequence[str], kind: str = "FILE") -> tuple[str, list[str]]:
    """Returns the only file, or the only trained model, and the overrides."""
    files, overrides = split(words)
    if len(files) != 1:
        raise click.UsageError(f"Expected one {kind}. Received: {' '.join(files) or 'none'}")
    if kind == "MODEL" and (fixed := [each for each in overrides if each.startswith(("model", "training"))]):
        raise click.UsageError(f"MODEL is already trained; expected keys of data or inference. Received: {fixed[0]}")
    return files[0], overrides


class Commands(click.Group):
    """Command group that suggests the equivalent of a command of another tool."""

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = arguments[0]
        if name in VERBS and name not in self.commands:
            raise click.UsageError(f"No such command '{name}'. Did you mean `tfseg {VERBS[name]}`?", context)
        return super().resolve_command(context, arguments)


def hint(error: click.ClickException) -> str:
    """Returns advice on an unknown option: the override that sets the key."""
    if not isinstance(error, click.NoSuchOption):
        return ""
    if error.option_name.strip("-") in ("config", "cfg", "pipeline", "file"):
        return "FILE is a positional argument, for example: tfseg fit streets.yaml."
    override = OPTIONS.get(error.option_name.strip("-").replace("_", "-"), OPTIONS["epochs"])
    return f"Set keys of FILE with KEY=VALUE, for example {override}."


def parse_range(text: str) -> tuple[str, tuple[float, float, float]]:
    """Parses `theta_alpha=30:100:10` or `theta_alpha=50` into the name and `(first, last, step)`."""
    name, _, values = text.partition("=")
    try:
        first, *rest = map(float, values.split(":"))
        last, step = rest or (first, 0.0)
    except ValueError:
        raise click.BadParameter(f"Expected {RANGE} or NAME=VALUE. Received: {text}", param_hint="--range") from None
    return name, (first, last, step)

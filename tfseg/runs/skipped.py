"""Examples that a run leaves out, for `data.on_error: skip`: the file `skipped.json` of a run directory."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfseg.atomic import write_text
from tfseg.data.doctor.examine import Progress
from tfseg.data.skipping import invalid_examples, limit_problem
from tfseg.errors import DataError, RunError
from tfseg.pipeline import Pipeline

SKIPPED = "skipped.json"

Skipped = dict[str, dict[str, str]]
"""Messages of the examples that are left out, by split and name."""


def find_skipped(pipeline: Pipeline, progress: Progress) -> Skipped:
    """Decodes all examples of the training and the validation split and returns those that training leaves out.

    Sources without files are not decoded.

    Args:
        pipeline: Pipeline with `data.on_error: skip`.
        progress: Function of the number of examples that returns a function to be called after every example.

    Raises:
        DataError: If more than `data.max_skipped` of the examples of a split cannot be used, or all of them.
    """
    data = pipeline.data.open(pipeline.labels)
    splits = [split for split in data.used_splits if any(data.files(split))]
    advance = progress(sum(data.count(split) for split in splits))
    found = {split: invalid_examples(data, split, advance) for split in splits}
    limit = pipeline.data.max_skipped
    checks = [limit_problem(split, invalid, data.count(split), limit) for split, invalid in found.items()]
    if problems := [problem for problem in checks if problem]:
        raise DataError("\n".join(problems))
    return {split: invalid for split, invalid in found.items() if invalid}


def record_skipped(folder: Path, pipeline: Pipeline, skipped: Skipped, verbose: bool) -> None:
    """Writes `skipped.json` to a run directory, even if it is empty, and prints a summary. Keeps that of a resumed run.

    To be called before the pipeline is written: a run with a pipeline can be resumed and then needs the file.
    """
    if pipeline.data.on_error == "raise":
        return
    if verbose:
        print(skipped_text(skipped, folder), flush=True)
    if (folder / SKIPPED).is_file():
        return
    data, splits = pipeline.data.open(pipeline.labels), {}
    for split, invalid in skipped.items():
        files = dict(zip(data.names(split), data.files(split), strict=True))
        splits[split] = [{"name": name, "files": files[name], "message": invalid[name]} for name in invalid]
    write_text(folder / SKIPPED, json.dumps({"splits": splits}, indent=2) + "\n")


def read_skipped(folder: Path) -> Skipped:
    """Reads the examples that a run leaves out; none if it has no `skipped.json`.

    Raises:
        RunError: If the file is corrupt.
    """
    file = folder / SKIPPED
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {split: _messages(listed) for split, listed in content["splits"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(
            f"{file}: is corrupt. Expected a file written by `tfseg fit` with data.on_error=skip. Restore it, or start "
            "the training again with --overwrite."
        ) from error


def _messages(listed: list[Mapping[str, Any]]) -> dict[str, str]:
    return {str(each["name"]): str(each["message"]) for each in listed}


def skipped_of(folder: Path, pipeline: Pipeline, *, resumed: bool, progress: Progress) -> Skipped:
    """Returns the examples to leave out: those in `skipped.json` of a resumed run, so that positions never shift.

    Raises:
        DataError: As `find_skipped`.
        RunError: If a resumed run has trained, but its `skipped.json` is missing or corrupt.
    """
    if pipeline.data.on_error == "raise":
        return {}
    if resumed and (folder / SKIPPED).is_file():
        return read_skipped(folder)
    if resumed:
        raise RunError(
            f"{folder / SKIPPED}: is missing. A resumed run with data.on_error=skip needs it to leave out the same "
            "examples. Restore it, or start the training again with --overwrite."
        )
    return find_skipped(pipeline, progress)


def skipped_text(skipped: Skipped, folder: Path) -> str:
    """Returns the summary of the examples that are left out.

    >>> skipped_text({"train": {"a": "a.png: cannot be decoded."}}, Path("runs/streets"))
    'Skipped 1 invalid example: 1 of the split train; see runs/streets/skipped.json'
    """
    total = sum(map(len, skipped.values()))
    if not total:
        return "Skipped no examples: all can be used"
    splits = ", ".join(f"{len(invalid)} of the split {split}" for split, invalid in skipped.items())
    return f"Skipped {total} invalid example{'s' * (total > 1)}: {splits}; see {folder / SKIPPED}"

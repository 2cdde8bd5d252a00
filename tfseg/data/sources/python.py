"""Data passed from Python, to `tfseg.fit` and `tfseg.evaluate`. A pipeline file only records that it was passed."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tfseg.data.examples import Source
from tfseg.errors import DataError
from tfseg.spec.declare import spec


@spec
class Python(Source):
    """Arrays or a `tf.data.Dataset` passed to `tfseg.fit` in Python."""

    type: Literal["python"] = "python"
    NEEDS_ROOT: ClassVar[bool] = False
    READABLE: ClassVar[bool] = False
    channels: Annotated[int, Field(ge=1)] = 3
    """Number of channels of the images."""
    train: Annotated[int, Field(ge=1)] | None = None
    """Number of training examples, or of batches of a `tf.data.Dataset` of batches. Written by `tfseg.fit`, which
    resumes a run only with as many."""
    val: Annotated[int, Field(ge=1)] | None = None
    """Number of validation examples or batches, like `train`."""

    def splits(self, root: Path | None = None) -> tuple[str, ...]:
        """Raises an error that explains how to pass data."""
        raise DataError(
            "data.source: python: the dataset is passed from Python and cannot be read here. Expected it in Python: "
            "tfseg.fit(pipeline, run_dir, training=…, validation=…), tfseg.evaluate(run_dir, data=…) or "
            "tfseg.tune_crf(run_dir, data=…); or set data.source to files."
        )

"""Weights that others trained, under the names that others gave, put into the networks built here."""

from tfseg.checkpoints.fill import fill_from
from tfseg.checkpoints.readers import read_arrays
from tfseg.checkpoints.report import ImportReport

__all__ = ["ImportReport", "fill_from", "read_arrays"]

"""Conversion of annotations to masks."""

from tfseg.data.convert.conversion import FORMATS, Options, Report, convert
from tfseg.data.convert.records import Keys

__all__ = ["FORMATS", "Keys", "Options", "Report", "convert"]

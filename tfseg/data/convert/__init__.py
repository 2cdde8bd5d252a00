"""Conversion of datasets to TFRecord files, and of annotations to masks."""

from tfseg.data.convert.conversion import FORMATS, Options, Report, convert
from tfseg.data.convert.records import Keys
from tfseg.data.convert.tfrecord import to_tfrecord

__all__ = ["FORMATS", "Keys", "Options", "Report", "convert", "to_tfrecord"]

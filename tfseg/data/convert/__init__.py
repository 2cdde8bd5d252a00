"""Conversion of datasets to other formats."""

from tfseg.data.convert.tfrecord import to_tfrecord

__all__ = ["to_tfrecord"]

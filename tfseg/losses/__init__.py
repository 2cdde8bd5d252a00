"""Losses that know which pixels have no label."""

from tfseg.losses.cross_entropy import CrossEntropy

__all__ = ["CrossEntropy"]

"""From features to scores of the classes; one file for each family of papers."""

from tfseg.models.decoders.fcn import Fcn

__all__ = ["Fcn"]

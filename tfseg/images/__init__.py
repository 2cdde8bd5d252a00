"""Decoding of image files, shared by training, prediction and serving."""

from tfseg.images.decode import decode_image, is_decodable, is_supported
from tfseg.images.window import cut, decode_window

__all__ = ["cut", "decode_image", "decode_window", "is_decodable", "is_supported"]

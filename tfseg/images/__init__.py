"""Decoding of image files, shared by training, prediction and serving."""

from tfseg.images.decode import decode_image, is_supported
from tfseg.images.native import decode_native, is_decodable
from tfseg.images.values import EIGHT_BITS, ImageValues
from tfseg.images.window import cut, decode_window

__all__ = [
    "EIGHT_BITS",
    "ImageValues",
    "cut",
    "decode_image",
    "decode_native",
    "decode_window",
    "is_decodable",
    "is_supported",
]

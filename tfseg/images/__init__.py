"""Decoding of image files, shared by training, prediction and serving."""

from tfseg.images.decode import decode_image, is_decodable, is_supported

__all__ = ["decode_image", "is_decodable", "is_supported"]

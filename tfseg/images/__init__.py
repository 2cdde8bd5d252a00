"""Image files: what they hold, decoded alike for training, prediction and serving."""

from tfseg.images.decode import decode_image, is_decodable, is_supported

__all__ = ["decode_image", "is_decodable", "is_supported"]

"""Suffixes of image files in a folder. The format of a file is determined by its content alone."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".npy")
"""Suffixes of the formats that `tfseg.images.decode_image` reads, for training and prediction."""
MORE_SUFFIXES = (".webp", ".tif", ".tiff", ".ppm", ".pgm", ".tga", ".jp2")
"""Suffixes of further formats, which prediction reads with Pillow."""

"""Suffixes of image files in a folder. The format of a file is determined by its content alone."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".npy")
"""Suffixes of the formats that `tfseg.images.decode_image` reads, for training and prediction."""
TIFF_SUFFIXES, WEBP_SUFFIXES = (".tif", ".tiff"), (".webp",)
RASTER_SUFFIXES = (*TIFF_SUFFIXES, *WEBP_SUFFIXES)
"""Suffixes of the formats that are converted to TFRecord files before training."""
MORE_SUFFIXES = (*RASTER_SUFFIXES, ".ppm", ".pgm", ".tga", ".jp2")
"""Suffixes of further formats, which prediction reads with Pillow."""

"""Which files of a folder are taken for images. What a file holds is decided by its content alone."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".npy")
"""Of the kinds that training reads, see `tfseg.images.decode_image`."""
MORE_SUFFIXES = (".webp", ".tif", ".tiff", ".ppm", ".pgm", ".tga", ".jp2")
"""Of further kinds, which prediction reads by Pillow."""

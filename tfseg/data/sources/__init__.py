"""Data sources: listings and examples of datasets."""

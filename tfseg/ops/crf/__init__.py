"""Fully connected CRF: Gaussian filtering, mean-field inference and published parameters."""

"""The fully connected CRF: filters of Gaussian kernels, mean field inference, and its parameters."""

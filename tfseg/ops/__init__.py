"""Stateless tensor functions and exact arithmetic, used by layers, losses and metrics."""

from tfseg.ops.adaptive import adaptive_average_pool
from tfseg.ops.confusion import confusion_matrix
from tfseg.ops.convolution import atrous_conv
from tfseg.ops.crf.dense_crf import dense_crf
from tfseg.ops.crf.parameters import CrfParameters
from tfseg.ops.kernels import bilinear_kernel
from tfseg.ops.pool import atrous_max_pool, caffe_average_pool, caffe_max_pool
from tfseg.ops.resize import resize
from tfseg.ops.unpool import max_pool_with_argmax, max_unpool

__all__ = [
    "CrfParameters",
    "adaptive_average_pool",
    "atrous_conv",
    "atrous_max_pool",
    "bilinear_kernel",
    "caffe_average_pool",
    "caffe_max_pool",
    "confusion_matrix",
    "dense_crf",
    "max_pool_with_argmax",
    "max_unpool",
    "resize",
]

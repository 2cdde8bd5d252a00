"""Published parameters of fully connected CRFs, with the normalization for which they were determined."""

from dataclasses import dataclass

from tfseg.ops.crf.mean_field import Normalization


@dataclass(frozen=True)
class CrfParameters:
    """Weights and standard deviations of the two kernels. See `tfseg.ops.crf.mean_field`."""

    bilateral_weight: float
    """Weight of the bilateral kernel."""
    theta_alpha: float
    """Standard deviation of the bilateral kernel in pixels."""
    theta_beta: float
    """Standard deviation of the bilateral kernel in intensities from 0 to 255."""
    spatial_weight: float
    """Weight of the spatial kernel."""
    theta_gamma: float
    """Standard deviation of the spatial kernel in pixels."""
    normalization: Normalization
    """Normalization of both kernels."""
    source: str = ""
    """Source of the values."""


def _deeplab(bilateral_weight: float, theta_alpha: float, theta_beta: float, source: str) -> CrfParameters:
    return CrfParameters(bilateral_weight, theta_alpha, theta_beta, 3, 3, "after", source)


_SETUP = "the authors' SetupEnv.m, after a search on 100 validation images of VOC"

PARAMETERS: dict[str, CrfParameters] = {
    "deeplab_default": _deeplab(5, 70, 5, "the defaults of DeepLab's densecrf program"),
    "deeplab_v1": _deeplab(5, 50, 10, f"{_SETUP}: DeepLab"),
    "deeplab_v1_7x7": _deeplab(4, 72, 5, f"{_SETUP}: configuration of the 7x7 network, as inferred from its name"),
    "deeplab_v1_msc": _deeplab(3, 95, 3, f"{_SETUP}: DeepLab-MSc"),
    "deeplab_v1_coco": _deeplab(5, 67, 3, f"{_SETUP}: DeepLab-COCO"),
    "deeplab_v1_largefov": _deeplab(4, 121, 5, f"{_SETUP}: DeepLab-LargeFOV"),
    "deeplab_v1_largefov_coco": _deeplab(5, 69, 5, f"{_SETUP}: DeepLab-LargeFOV-COCO"),
    "deeplab_v1_msc_largefov": _deeplab(4, 83, 5, "a third party's note on DeepLab-MSc-LargeFOV"),
    "deeplab_v1_msc_largefov_coco": _deeplab(4, 59, 5, "a third party's note on DeepLab-MSc-LargeFOV-COCO"),
    "deeplab_v2_vgg16": _deeplab(4, 49, 5, "the authors' script for DeepLab v2 with VGG-16"),
    "deeplab_v2_resnet101": CrfParameters(
        4, 67, 3, 3, 1, "symmetric", "kazuto1011/deeplab-pytorch, ResNet-101, with pydensecrf's default normalization"
    ),
    "deeplab_v2_resnet101_prototxt": CrfParameters(
        5, 21, 3, 4, 1, "after", "a commented-out block in the authors' test.prototxt of ResNet-101"
    ),
    "deconvnet": CrfParameters(
        5, 20, 3, 3, 3, "after", "generate_EDeconvNet_CRF_results.m, with the normalization of libDenseCRF at that time"
    ),
    "crf_rnn": CrfParameters(5, 160, 3, 3, 3, "after", "CRF-as-RNN: its kernels and the initial values of its weights"),
    "pydensecrf": CrfParameters(10, 80, 13, 3, 3, "symmetric", "the example in pydensecrf's README"),
}
"""Published sets by name, for `tfseg.ops.dense_crf(…, parameters=…)`."""

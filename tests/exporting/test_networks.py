"""Export of tfseg's networks, among them released forms with crops and light ones with resizes."""

import keras
import numpy as np
import pytest

from tests.exporting.toys import image, labels
from tests.tiers import rotating
from tfseg.backbones import ContractingPath, MobileNetV2, Resnet, SmallCnn, Vgg16
from tfseg.exporting import Export, Tflite, export
from tfseg.exporting.tflite import operations
from tfseg.models import Segmenter
from tfseg.models.decoders import DeconvNet, DeepLabV1, Dilation, Fcn, PspNet, SegNet, Unet
from tfseg.models.refine import CrfRnn

pytestmark = pytest.mark.usefixtures("one_isolated_worker")

UNPOOLED = Vgg16(width_multiplier=1 / 32, batch_norm=True, indices=True, fc=None)
NETWORKS = {
    "released": Segmenter(backbone=Vgg16(form="original", width_multiplier=1 / 32), decoder=Fcn(upsampling="deconv")),
    "same": Segmenter(backbone=Vgg16(width_multiplier=1 / 32), decoder=Fcn(strides=(32, 16))),
    "light": Segmenter(backbone=MobileNetV2(width_multiplier=0.25), decoder=Fcn(strides=(32, 16, 8, 4), filters=8)),
    "deconvnet": Segmenter(backbone=UNPOOLED, decoder=DeconvNet(filters=8)),
    "segnet": Segmenter(backbone=UNPOOLED, decoder=SegNet()),
    "unet": Segmenter(backbone=ContractingPath(filters=2), decoder=Unet()),
    "pspnet": Segmenter(backbone=Resnet(depth=50, width_multiplier=1 / 32, output_stride=8), decoder=PspNet(filters=4)),
    "deeplab": Segmenter(
        backbone=Vgg16(form="deeplab", output_stride=8, width_multiplier=1 / 32, pool5a=True),
        decoder=DeepLabV1(),
        scales=(1.0, 0.5),
    ),
    "dilation": Segmenter(
        backbone=Vgg16(form="dilation", output_stride=8, width_multiplier=1 / 32), decoder=Dilation()
    ),
    "small": Segmenter(channels=1, backbone=SmallCnn(filters=4), decoder=Fcn(strides=(16, 8))),
}
FORBIDDEN = {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "SHAPE", "STRIDED_SLICE", "PACK", "TRANSPOSE", "VAR_HANDLE"}
"""Builtin operations that are slow, or that result from dynamic sizes or variables."""
SLICES = {"deconvnet": 4 * 5, "segnet": 4 * 5, "deeplab": 2, "dilation": 2}
"""Number of slices: max pooling with argmax slices the four pixels of its windows, and a zoom the last row and
column."""


def randomized(model: keras.Model, sample: np.ndarray) -> keras.Model:
    """Randomizes the kernels of the scores, which start near zero, so that logits are as large as trained ones."""
    random = np.random.default_rng(0)
    layers = [layer for layer in model.layers if layer.weights]
    scores = [layer for layer in layers if not layer.get_weights()[0].any()] or layers[-1:]
    for layer in scores:
        layer.kernel.assign(random.normal(0, 1, layer.kernel.shape))
        layer.bias.assign(np.zeros(layer.bias.shape))
    spread = model(sample[None]).numpy().std()
    for layer in scores:  # logits are linear in these kernels
        layer.kernel.assign(layer.kernel * (5 / spread))
    return model


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("name", rotating(NETWORKS, {"released", "small"}))
def test_export_of_networks(name, tmp_path):
    images = [image(0, 75, 97, NETWORKS[name].channels), image(1, 64, 33, NETWORKS[name].channels)]
    model = randomized(NETWORKS[name].build(labels(4)), images[0])
    report = export(model, labels(4), tmp_path, name, spec=Export(tflite=Tflite(size=(65, 96))), images=images)
    assert [one.wrong for one in report.comparisons] == [0, 0]
    assert max(one.largest_difference for one in report.comparisons) < 1e-4
    found = [operation for operation in operations(report.tflite.read_bytes()) if operation in FORBIDDEN]
    assert found == ["STRIDED_SLICE"] * SLICES.get(name, 0)


REFINEMENTS = {
    "lattice": (CrfRnn(), Export(tflite=None)),
    "window": (
        CrfRnn(kernel="convolutional", window=3, theta_gamma=1.0, inference_iterations=2),
        Export(tflite=Tflite(size=(65, 96))),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kernel", REFINEMENTS)
def test_export_of_networks_with_a_crf(kernel, tmp_path):
    """The SavedModel is called with other batch and image sizes. The lattice is built per image."""
    refine, spec = REFINEMENTS[kernel]
    network = Segmenter(backbone=SmallCnn(filters=4), decoder=Fcn(strides=(16, 8)), refine=refine)
    images = [image(0, 75, 97, 3), image(1, 64, 33, 3)]
    model = randomized(network.build(labels(4)), images[0])
    report = export(model, labels(4), tmp_path, kernel, spec=spec, images=images)
    assert [one.wrong for one in report.comparisons] == [0] * (1 + (kernel == "window"))
    assert max(one.largest_difference for one in report.comparisons) < 1e-4

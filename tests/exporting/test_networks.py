"""tfseg's own networks go through the gate: the released form with its crops, and the light ones with resizes."""

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
"""Builtin, but slow, or a sign that a size or a weight was left open."""
SLICES = {"deconvnet": 4 * 5, "segnet": 4 * 5, "deeplab": 2, "dilation": 2}
"""A pool that keeps places looks at the four pixels of its windows one after the other; a zoom repeats the last row and
column."""


def awake(model: keras.Model, picture: np.ndarray) -> keras.Model:
    """Scores begin at or near zero, and a network that says nothing proves nothing: logits as after training."""
    random = np.random.default_rng(0)
    learned = [layer for layer in model.layers if layer.weights]
    scores = [layer for layer in learned if not layer.get_weights()[0].any()] or learned[-1:]
    for layer in scores:
        layer.kernel.assign(random.normal(0, 1, layer.kernel.shape))
        layer.bias.assign(np.zeros(layer.bias.shape))
    spread = model(picture[None]).numpy().std()
    for layer in scores:  # logits are linear in them
        layer.kernel.assign(layer.kernel * (5 / spread))
    return model


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("name", rotating(NETWORKS, {"released", "small"}))
def test_networks_pass_the_gate(name, tmp_path):
    images = [image(0, 75, 97, NETWORKS[name].channels), image(1, 64, 33, NETWORKS[name].channels)]
    model = awake(NETWORKS[name].build(labels(4)), images[0])
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
def test_networks_with_a_crf_pass_the_gate(kernel, tmp_path):
    """The SavedModel gets photographs whose number and sizes it does not know; a lattice is made for each."""
    refine, spec = REFINEMENTS[kernel]
    network = Segmenter(backbone=SmallCnn(filters=4), decoder=Fcn(strides=(16, 8)), refine=refine)
    images = [image(0, 75, 97, 3), image(1, 64, 33, 3)]
    report = export(awake(network.build(labels(4)), images[0]), labels(4), tmp_path, kernel, spec=spec, images=images)
    assert [one.wrong for one in report.comparisons] == [0] * (1 + (kernel == "window"))
    assert max(one.largest_difference for one in report.comparisons) < 1e-4

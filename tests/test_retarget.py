"""Retargeting of a pipeline: one set of weights at any output stride."""

from pathlib import Path

import keras
import numpy as np
import pytest

import tfseg
from tfseg.models import ModelError
from tfseg.pipeline import Pipeline, load

PIPELINE = """\
name: retargeted
labels: {names: [ground, disc, square]}
data: {source: {type: shapes, size: 65}, crop: 161, batch_size: 2}
model:
  backbone: {type: resnet, depth: 50, width_multiplier: 0.05, output_stride: 32}
  decoder: {type: fcn, strides: [32]}
  grid: 1
"""
ATROUS = "model.decoder={type: deeplab_v2, rates: [2, 4]}"


def pipeline(folder: Path, *overrides: str) -> Pipeline:
    file = folder / "pipeline.yaml"
    file.write_text(PIPELINE)
    return load(file, overrides)


def test_scores_agree_at_common_positions(tmp_path: Path) -> None:
    """The decoder's rates are scaled with the stride. At sizes 32k + 1, every fourth position at stride 8 is one at
    stride 32."""
    coarse = pipeline(tmp_path, ATROUS)
    fine = tfseg.retarget(coarse, 8)
    assert (fine.model.backbone.output_stride, fine.model.decoder.rates) == (8, (8, 16))
    assert tfseg.retarget(fine, 32) == coarse
    networks = [each.build(training=True) for each in (coarse, fine)]
    assert [layer.name for layer in networks[0].layers] == [layer.name for layer in networks[1].layers]
    networks[0].save_weights(tmp_path / "coarse.weights.h5")
    networks[1].load_weights(tmp_path / "coarse.weights.h5")
    image = np.random.default_rng(0).uniform(0, 255, (1, 97, 97, 3)).astype(np.float32)
    few, many = (np.array(network(image)["scores"]) for network in networks)
    assert few.shape[1:3] == (4, 4) and many.shape[1:3] == (13, 13) and np.std(few) > 0
    np.testing.assert_allclose(many[:, ::4, ::4] / np.abs(few).max(), few / np.abs(few).max(), atol=1e-5)


def test_weights_can_be_transferred_to_another_output_stride(tmp_path: Path) -> None:
    coarse = pipeline(tmp_path, "model.backbone={type: small_cnn, filters: 2, output_stride: 32}")
    coarse.build().save(tmp_path / "model.keras")
    trained = keras.models.load_model(tmp_path / "model.keras")
    fine = tfseg.retarget(coarse, 8).build()
    fine.set_weights(trained.get_weights())
    assert [weight.path for weight in fine.weights] == [weight.path for weight in trained.weights]


@pytest.mark.parametrize(
    ("overrides", "output_stride", "message"),
    [
        ((), 12, "model.backbone.output_stride: expected one of 8, 16, 32; received 12"),
        (
            ("model.decoder={type: fcn, strides: [32, 16]}",),
            16,
            "model.decoder.strides: resnet with output stride 16 has strides 2, 4, 8, 16, not 32. Received: [32, 16]",
        ),
        (
            ("model.decoder={type: fcn, strides: [8, 4]}",),
            8,
            "model.decoder.type: fcn uses other feature maps of the backbone at output stride 8 than at 32, so the "
            "weights of one network do not fit the other. Received: fcn",
        ),
        (
            ("model.backbone={type: alexnet, form: original}", "model.decoder.upsampling=deconv"),
            16,
            "model.backbone.output_stride: must be 32 with form original; set form to same for other strides. "
            "Received: 16",
        ),
        (
            ("model.backbone={type: applications, name: DenseNet121}",),
            16,
            "model.backbone.output_stride: must be 32 for DenseNet121: its layer pool4_pool is an average pool, which "
            "cannot be dilated. Received: 16",
        ),
        (
            ("model={backbone: {type: contracting_path, filters: 2}, decoder: unet, grid: 1}",),
            8,
            "model.backbone.type: contracting_path has output stride 16 only. Received: 8",
        ),
        (
            ("model.backbone.output_stride=8", "model.decoder={type: deeplab_v2, rates: [6, 12]}"),
            32,
            "model.decoder.rates: multiplied by 1/4 for the new output stride, the values are not integers. "
            "Received: [6, 12]",
        ),
        (
            ("model={type: graph, layers: [{name: a, layer: conv, filters: 3, kernel_size: 1}]}",),
            8,
            "model.type: the output stride of a graph is set by its layers; only that of a backbone can be changed. "
            "Received: graph",
        ),
    ],
)
def test_networks_that_cannot_be_retargeted(
    overrides: tuple[str, ...], output_stride: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError) as error:
        tfseg.retarget(pipeline(tmp_path, *overrides), output_stride)
    assert str(error.value) == message


def test_strides_of_the_demo_are_reported() -> None:
    with pytest.raises(ModelError) as error:
        tfseg.retarget(tfseg.load("shapes"), 8)
    assert str(error.value) == (
        "model.decoder.strides: small_cnn with output stride 8 has strides 2, 4, 8, not 16. Received: [16, 8, 4]"
    )

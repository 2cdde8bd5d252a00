"""Networks of a backbone, a decoder and a head: image sizes, float32 logits, and problems reported before building."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.models.conftest import LABELS, SMALL
from tfseg.backbones import MobileNetV2, SmallCnn, Vgg16
from tfseg.context import Context
from tfseg.data.crops import crop_problem
from tfseg.layers import ResizeBy
from tfseg.models import ModelError, Segmenter
from tfseg.models.decoders import DeepLabV3, Fcn, Unet
from tfseg.models.heads import Crop, Resize


def image(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, height, width, channels), np.uint8)


def randomized(model: keras.Model) -> keras.Model:
    """Randomizes the kernels of the scores, which are initialized to zero."""
    keras.utils.set_random_seed(0)
    for layer in model.layers:
        if layer.name.startswith("score") and layer.weights:
            layer.kernel.assign(keras.random.normal(layer.kernel.shape))
    return model


@pytest.mark.first_cases(4)
def test_logits_have_the_image_size(segmenter: Segmenter) -> None:
    model = randomized(segmenter.build(LABELS))
    assert model.input.name == "image"
    assert model.layers[-1].name == "logits"
    assert model.output_shape == (None, None, None, 3)
    for height, width in ((1, 1), (32, 64), (33, 65), (41, 70)):
        logits = model(image(height, width))
        assert logits.shape == (2, height, width, 3)
        assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert float(keras.ops.std(logits)) > 0


@pytest.mark.first_cases(3)
def test_uint8_and_float_images_are_equivalent(segmenter: Segmenter) -> None:
    model = randomized(segmenter.build(LABELS))
    np.testing.assert_array_equal(model(image(40, 33)), model(image(40, 33).astype(np.float32)))


@pytest.mark.first_cases(3)
@pytest.mark.parametrize("precision", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)])
def test_logits_are_float32_under_every_precision(segmenter: Segmenter, precision: str) -> None:
    keras.config.set_dtype_policy(precision)
    try:
        model = randomized(segmenter.build(LABELS, training=True))
    finally:
        keras.config.set_dtype_policy("float32")
    outputs = model(image(40, 33))
    assert {name: keras.backend.standardize_dtype(each.dtype) for name, each in outputs.items()} == {
        "logits": "float32",
        "scores": "float32",
    }
    assert np.isfinite(outputs["logits"]).all()
    assert {layer.compute_dtype for layer in model.layers} == {precision.removeprefix("mixed_"), "float32"}


@pytest.mark.first_cases(4)
def test_training_model_has_the_same_layers(segmenter: Segmenter) -> None:
    model = randomized(segmenter.build(LABELS, training=True))
    assert list(model.output) == ["logits", "scores"]
    single = keras.Model(model.input, model.output["logits"])
    plain = segmenter.build(LABELS)
    assert [layer.name for layer in single.layers] == [layer.name for layer in plain.layers]
    plain.set_weights(single.get_weights())
    np.testing.assert_array_equal(plain(image(40, 33)), model(image(40, 33))["logits"])


@pytest.mark.parametrize("name", ["small_cnn", "mobilenet_v2", "vgg16_resize"])
@pytest.mark.parametrize("channels", [1, 5])
def test_images_of_other_channel_counts(name: str, channels: int) -> None:
    spec = SMALL[name]()
    model = Segmenter(channels=channels, backbone=spec.backbone, decoder=spec.decoder).build(LABELS)
    assert model(image(32, 32, channels)).shape == (2, 32, 32, 3)


@pytest.mark.slow
def test_network_trains() -> None:
    """After some steps, the network separates two halves of different brightness."""
    keras.utils.set_random_seed(1)
    model = Segmenter(backbone=SmallCnn(filters=4), decoder=Fcn(strides=(16, 8, 4), filters=8)).build(LABELS)
    images = np.zeros((4, 32, 32, 3), np.float32)
    images[:, :, 16:] = 200
    truth = (images[..., 0] > 100).astype(np.int32)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss)
    history = model.fit(images, truth, epochs=40, verbose=0).history["loss"]
    assert history[0] == pytest.approx(np.log(3), abs=1e-5)  # scores are initialized to zero
    assert history[-1] < 0.2
    assert np.mean(np.argmax(model.predict(images, verbose=0), -1) == truth) > 0.9


@pytest.mark.slow
def test_saved_networks_load_with_the_layers_only(tmp_path: Path) -> None:
    script = "import sys, numpy as np, keras, tfseg.layers\n"
    for name, make in SMALL.items():
        model = randomized(make().build(LABELS))
        model.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", image=image(40, 33), logits=model(image(40, 33)))
        script += (
            f"a = np.load(r'{tmp_path / name}.npz'); m = keras.models.load_model(r'{tmp_path / name}.keras')\n"
            "np.testing.assert_allclose(m(a['image']), a['logits'], atol=1e-4, rtol=1e-4)\n"
        )
    script += "assert 'tfseg.models' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.extra
def test_other_backends_give_the_same_logits(tmp_path: Path) -> None:
    """The network uses only backend-independent operations of Keras."""
    pytest.importorskip("jax", reason="Keras computes with JAX in its numpy backend")
    model = randomized(SMALL["small_cnn"]().build(LABELS))
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "arrays.npz", image=image(40, 33), logits=model(image(40, 33)))
    script = (
        "import os; os.environ['KERAS_BACKEND'] = 'numpy'\n"
        "import numpy as np, keras, tfseg.layers\n"
        f"a = np.load(r'{tmp_path}/arrays.npz'); m = keras.models.load_model(r'{tmp_path}/model.keras')\n"
        "np.testing.assert_allclose(m(a['image']), a['logits'], atol=1e-3)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])


PROBLEMS = [
    (
        Segmenter(backbone=MobileNetV2(output_stride=16), decoder=Fcn()),
        ("decoder", "strides"),
        "mobilenet_v2 with output stride 16 has strides 2, 4, 8, 16, not 32. Received: [32, 16, 8]",
    ),
    (
        Segmenter(backbone=SmallCnn(), decoder=Fcn(strides=(16, 8), upsampling="deconv")),
        ("decoder", "upsampling"),
        "deconv crops scores at a fixed offset, but the feature positions of small_cnn depend on the image size. "
        "Set upsampling to resize. Received: deconv",
    ),
    (
        Segmenter(backbone=Vgg16(form="original"), decoder=Fcn()),
        ("decoder", "upsampling"),
        "scores of vgg16 in its original form extend beyond the image and must be cropped, not resized. "
        "Set upsampling to deconv, or model.backbone.form to same. Received: resize",
    ),
    (
        Segmenter(backbone=Vgg16(), decoder=Fcn(), head=Crop()),
        ("head",),
        "this decoder requires head: resize. Received: crop",
    ),
    (
        Segmenter(backbone=Vgg16(), decoder=Fcn(upsampling="deconv"), head=Resize()),
        ("head",),
        "this decoder requires head: crop. Received: resize",
    ),
]


@pytest.mark.parametrize(("spec", "path", "message"), PROBLEMS)
def test_incompatible_parts_are_reported(spec: Segmenter, path: tuple[str, ...], message: str) -> None:
    assert list(spec.problems(Context(LABELS, 3))) == [(path, message)]
    with pytest.raises(ModelError) as error:
        spec.build(LABELS)
    assert str(error.value) == f"model.{'.'.join(path)}: {message}"
    assert error.value.exit_code == 2


def test_compatible_parts_have_no_problems(segmenter: Segmenter) -> None:
    assert list(segmenter.problems(Context(LABELS, 3))) == []


def test_all_problems_are_reported_at_once() -> None:
    spec = Segmenter(backbone=MobileNetV2(), decoder=Fcn(strides=(64,), upsampling="deconv"), head=Resize())
    with pytest.raises(ModelError) as error:
        spec.build(LABELS)
    assert [line.partition(":")[0] for line in str(error.value).splitlines()] == [
        "model.decoder.strides",
        "model.decoder.upsampling",
        "model.head",
    ]


@pytest.mark.parametrize(
    ("grid", "crop", "problem"),
    [
        ("auto", None, None),
        ("auto", 16, None),
        ("auto", (320, 320), None),
        ("auto", 17, "a multiple of 16. Nearest: 16 or 32. Received: 17"),
        (0, (100, 64), "a multiple of 16. Nearest: 96 or 112 for 100. Received: [100, 64]"),
        (1, 321, None),
        (1, 320, "a multiple of 16 plus one. Nearest: 321 or 337. Received: 320"),
        (1, 1, "a multiple of 16 plus one. Nearest: 17. Received: 1"),
        (None, (320, 321), None),
        (None, 8, "a multiple of 16, or that plus one. Nearest: 16. Received: 8"),
        (None, 100, "a multiple of 16, or that plus one. Nearest: 97 or 112. Received: 100"),
        (
            None,
            (100, 8),
            "a multiple of 16, or that plus one. Nearest: 97 or 112 for 100; 16 for 8. Received: [100, 8]",
        ),
    ],
)
def test_crops_must_fit_the_grid(grid, crop, problem: str | None) -> None:
    rule = "with output stride 16, height and width must be "
    model = Segmenter(backbone=SmallCnn(), decoder=Fcn(strides=(16,)), grid=grid)
    assert crop_problem(crop, model.crop_grid) == (None if problem is None else rule + problem)
    assert Segmenter(backbone=Vgg16(form="original"), decoder=Fcn(upsampling="deconv")).crop_grid is None


FOLDED = "weights/mobilenet_v2_imagenet/mobilenet_v2_1.0_imagenet_qat_dequant_keras.npz"


def test_folded_weights_at_several_scales(shared: Path) -> None:
    """BatchNorm statistics at several scales equal those of the image and a resized image."""
    parts = {"backbone": MobileNetV2(weights=shared / FOLDED), "decoder": DeepLabV3(rates=(), filters=4)}
    x = image(65, 65).astype(np.float32)
    found = []
    for scales, images in (((1.0, 0.5), [x]), ((1.0,), [x, ResizeBy(0.5)(x)])):
        spec = Segmenter(**parts, scales=scales)
        model = spec.build(LABELS)
        assert spec.load_weights(model, images).folded
        norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
        found.append([layer.moving_variance.numpy() for layer in norms])
    for first, second in zip(*found, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("decoder", [Fcn(strides=(16,)), Unet(strides=(16, 8, 4), filters=(4, 4))])
def test_weights_of_unused_stages_are_not_required(shared: Path, decoder: Any) -> None:
    spec = Segmenter(backbone=MobileNetV2(weights=shared / FOLDED), decoder=decoder)
    model = spec.build(LABELS)
    report = spec.load_weights(model, [image(64, 64)])
    names = {layer.name for layer in model.layers}
    assert "block_16_expand" not in names
    assert {"Conv1", "block_12_expand"} <= set(report.filled) <= names
    with np.load(shared / FOLDED) as arrays:
        np.testing.assert_array_equal(model.get_layer("Conv1").kernel, arrays["Conv1/kernel"])


def test_folded_weights_are_unfolded_with_images(shared: Path) -> None:
    path = shared / FOLDED
    spec = Segmenter(backbone=MobileNetV2(weights=path), decoder=Fcn(filters=4))
    model = spec.build(LABELS)
    fresh = np.array(model.get_layer("lateral_block_6_expand_relu_bn").gamma)
    report = spec.load_weights(model, [image(64, 64)])
    assert report.folded
    assert np.std(model.get_layer("bn_Conv1").moving_variance) > 0
    np.testing.assert_array_equal(model.get_layer("lateral_block_6_expand_relu_bn").gamma, fresh)
    assert Segmenter(backbone=SmallCnn(), decoder=Fcn(strides=(16,))).load_weights(model) is None

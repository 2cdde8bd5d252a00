"""Padding to the grid: at every size, an image and its padded version have the same scores."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import tfseg
from tests.models.conftest import LABELS, SMALL
from tests.tiers import rotating
from tfseg.backbones import AlexNet, Applications, ContractingPath, GoogLeNet, Resnet, SmallCnn, Vgg16
from tfseg.exporting.saved_model import write_endpoints
from tfseg.layers import CropLike, PadToGrid
from tfseg.losses import Positions, subsample
from tfseg.metrics import SegmentationMetrics
from tfseg.models import Segmenter
from tfseg.models.decoders import (
    DeconvNet,
    DeepLabV1,
    DeepLabV2,
    DeepLabV3,
    DeepLabV3Plus,
    Dilation,
    Fcn,
    PspNet,
    SegNet,
    Unet,
)
from tfseg.models.heads import Resize
from tfseg.pipeline import load
from tfseg.spec.problems import SpecError

SIZES = [tuple(int(side) for side in pair) for pair in np.random.default_rng(0).integers(1, 80, (40, 2))]
"""Random image sizes; some are below the output stride."""
INDEXED = Vgg16(width_multiplier=1 / 64, indices=True, fc=None)
DEEPLAB = Vgg16(form="deeplab", output_stride=8, width_multiplier=1 / 64, fc=None)
DILATED = Vgg16(form="dilation", output_stride=8, width_multiplier=1 / 64)

FAMILIES: dict[str, Callable[[], Segmenter]] = {
    "mobilenet_v2": SMALL["mobilenet_v2"],
    "resnet": lambda: Segmenter(backbone=Resnet(depth=50, width_multiplier=1 / 32), decoder=Fcn(strides=(32, 16))),
    "alexnet": lambda: Segmenter(backbone=AlexNet(width_multiplier=1 / 16), decoder=Fcn(strides=(32,))),
    "googlenet": lambda: Segmenter(backbone=GoogLeNet(width_multiplier=1 / 16), decoder=Fcn(strides=(32,))),
    "vgg16": SMALL["vgg16_resize"],
    "applications": lambda: Segmenter(backbone=Applications(name="MobileNetV3Small"), decoder=Fcn(strides=(32, 16))),
    "fcn_features": SMALL["small_cnn"],
    "deeplab_v1": SMALL["deeplab_v1"],
    "deeplab_v2": SMALL["deeplab_v2"],
    "several_scales": lambda: Segmenter(backbone=DEEPLAB, decoder=DeepLabV2(rates=(2,)), scales=(1.0, 0.75, 0.5)),
    "deeplab_v3": lambda: Segmenter(backbone=SmallCnn(filters=2), decoder=DeepLabV3(rates=(2, 4), filters=4)),
    "deeplab_v3_plus": lambda: Segmenter(backbone=SmallCnn(filters=2), decoder=DeepLabV3Plus(rates=(2,), filters=4)),
    "pspnet": lambda: Segmenter(backbone=SmallCnn(filters=2), decoder=PspNet(filters=4)),
    "unet": lambda: Segmenter(backbone=ContractingPath(filters=2), decoder=Unet()),
    "segnet": lambda: Segmenter(backbone=INDEXED, decoder=SegNet(), grid=0),
    "dilation": lambda: Segmenter(backbone=DILATED, decoder=Dilation(context="basic"), grid=1),
}
UNPADDED = {
    "original": SMALL["vgg16_original"],
    "deconv": SMALL["vgg16_deconv"],
    "dilation": SMALL["dilation"],
    "segnet": lambda: Segmenter(backbone=INDEXED, decoder=SegNet()),
    "deconvnet": lambda: Segmenter(backbone=INDEXED, decoder=DeconvNet(filters=4)),
}


def randomized(model: keras.Model) -> keras.Model:
    """Randomizes all weights, so that every layer matters; scores are initialized to zero."""
    random = np.random.default_rng(1)
    for weight in model.weights:
        fan = int(np.prod(weight.shape[:-1])) or 1
        if "seed" in weight.path:
            continue
        if weight.path.endswith(("gamma", "moving_variance")):
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
        elif weight.path.endswith("kernel"):
            weight.assign(random.normal(size=weight.shape) * (2 / fan) ** 0.5)
        else:
            weight.assign(random.normal(size=weight.shape) * 0.1)
    return model


def random_image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 100 + width).uniform(0, 255, (1, height, width, 3)).astype(np.float32)


def padded(image: np.ndarray, grid: PadToGrid) -> np.ndarray:
    """Pads an image in NumPy, below and to the right, with the mean color."""
    sides = [
        -(-max(side - grid.remainder, 0) // grid.multiple) * grid.multiple + grid.remainder for side in image.shape[1:3]
    ]
    larger = np.broadcast_to(np.array([122.675, 116.669, 104.008], np.float32), (1, *sides, 3)).copy()
    larger[:, : image.shape[1], : image.shape[2]] = image
    return larger


class Lite:
    """TFLite model of a SavedModel, for images of any size."""

    def __init__(self, folder: Path) -> None:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=["logits"])
        self.interpreter = Interpreter(model_content=converter.convert())

    def __call__(self, image: np.ndarray) -> np.ndarray:
        number = self.interpreter.get_input_details()[0]["index"]
        self.interpreter.resize_tensor_input(number, image.shape)
        self.interpreter.allocate_tensors()
        self.interpreter.set_tensor(number, image)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.interpreter.get_output_details()[0]["index"])


@pytest.mark.parametrize("name", rotating(FAMILIES, FAMILIES.keys() - {"applications", "googlenet", "alexnet"}))
def test_images_of_any_size_match_padded_images(name: str, tmp_path: Path) -> None:
    """The network agrees in Keras, as a SavedModel and as TFLite. 1e-5 allows for other kernels of the same
    arithmetic."""
    model = randomized(FAMILIES[name]().build(LABELS))
    grid, image_spec = model.get_layer("grid"), tf.TensorSpec([None, None, None, 3], tf.float32, name="image")
    keras_graph = tf.function(lambda image: {"logits": model(image, training=False)}, [image_spec], autograph=False)
    write_endpoints(tmp_path, {"logits": (keras_graph, image_spec)})
    saved_model = tf.saved_model.load(tmp_path)  # keeps its signature alive
    signature, lite = saved_model.signatures["logits"], Lite(tmp_path)
    spreads = []
    for index, (height, width) in enumerate(SIZES):
        image = random_image(height, width)
        larger = padded(image, grid)
        saved = signature(image=tf.constant(larger))["logits"].numpy()[:, :height, :width]
        converted = lite(larger)[:, :height, :width]
        found = {
            "keras": (keras_graph(image)["logits"], saved),
            "saved model": (signature(image=tf.constant(image))["logits"], saved),
            "tflite": (lite(image), converted),
        }
        if index % 20 == 0:  # eager calls are slow
            found["eager"] = (model(image), saved)
        scale = max(1.0, float(np.abs(saved).max()))
        for kind, (logits, expected) in found.items():
            assert logits.shape == (1, height, width, 3)
            difference = np.abs(np.asarray(logits) - expected).max() / scale
            assert difference <= 1e-5, f"{kind} at {height}x{width}: {difference}"
        np.testing.assert_allclose(converted / scale, saved / scale, rtol=0, atol=1e-4)
        spreads.append(np.std(saved))
    assert np.median(spreads) > 1e-3


@pytest.mark.slow
def test_accuracy_does_not_depend_on_the_image_size(tmp_path: Path) -> None:
    """The demo network, trained at 96 pixels, is evaluated on its images cropped to other sides, two of them with the
    remainder of 96."""
    run = tfseg.fit(load("shapes", ["training.epochs=10"]), tmp_path / "run", verbose=False)
    pairs = list(run.pipeline.data.open(run.pipeline.labels).evaluation("val").as_numpy_iterator())
    model, miou = run.model(), {}
    for side in (96, 95, 93, 92, 90, 88, 82, 80):
        metric = SegmentationMetrics(run.pipeline.labels.count)
        for image, mask in pairs:
            metric.update_state(mask[:, :side, :side], model(image[:, :side, :side], training=False))
        miou[side] = float(metric.result()["miou"])
    assert max(miou.values()) > 0.85, "the network has not learned"
    assert max(miou.values()) - min(miou.values()) < 0.015, miou


@pytest.mark.parametrize("name", UNPADDED)
def test_networks_with_fixed_positions_do_not_pad(name: str) -> None:
    model = UNPADDED[name]().build(LABELS)
    assert not [layer for layer in model.layers if isinstance(layer, PadToGrid)]


@pytest.mark.parametrize(
    ("spec", "multiple", "remainder"),
    [
        (Segmenter(backbone=SmallCnn(filters=2), decoder=Fcn(strides=(16, 8))), 16, 0),
        (Segmenter(backbone=SmallCnn(filters=2), decoder=Fcn(strides=(16, 8)), head=Resize(align_corners=True)), 16, 1),
        (Segmenter(backbone=SmallCnn(filters=2), decoder=Fcn(strides=(16, 8)), grid=1), 16, 1),
        (Segmenter(backbone=SmallCnn(filters=2), decoder=PspNet(filters=4)), 16, 1),
        (Segmenter(backbone=SmallCnn(filters=2, output_stride=8), decoder=Dilation()), 8, 1),
        (Segmenter(backbone=DEEPLAB, decoder=DeepLabV1()), 8, 1),
        (Segmenter(backbone=DEEPLAB, decoder=DeepLabV1(), scales=(1.0, 0.75, 0.5)), 32, 1),
        (Segmenter(backbone=INDEXED, decoder=SegNet(), grid=0), 32, 0),
    ],
)
def test_grid_depends_on_the_head(spec: Segmenter, multiple: int, remainder: int) -> None:
    grid = spec.build(LABELS).get_layer("grid")
    assert (grid.multiple, grid.remainder) == (multiple, remainder)


@pytest.mark.parametrize("grid", [2, -1, True, "none"])
def test_other_grids_are_rejected(grid: object) -> None:
    with pytest.raises(SpecError):
        Segmenter(backbone=SmallCnn(), decoder=Fcn(strides=(16,)), grid=grid)


@pytest.mark.parametrize("layer", [PadToGrid(8, 1, 5.0), CropLike(0)], ids=["pad", "crop"])
def test_padding_and_cropping_are_free_if_the_size_fits(layer: keras.Layer) -> None:
    """A graph of a static size has no operations."""
    inputs = [tf.TensorSpec([1, 17, 25, 3])] * (2 if isinstance(layer, CropLike) else 1)
    graph = tf.function(lambda *x: layer(list(x) if len(x) > 1 else x[0])).get_concrete_function(*inputs).graph
    assert {op.type for op in graph.get_operations()} <= {"Placeholder", "Identity", "Const"}


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        (Segmenter(backbone=SmallCnn(filters=2), decoder=Fcn(strides=(16, 8))), (90, 61)),
        (Segmenter(backbone=SmallCnn(filters=2), decoder=Fcn(strides=(16, 8)), grid=1), (90, 61)),
        (Segmenter(backbone=SmallCnn(filters=2), decoder=Fcn(strides=(16, 8)), grid=None), (90, 61)),
        (Segmenter(backbone=SmallCnn(filters=2), decoder=PspNet(filters=4)), (90, 61)),
        (Segmenter(backbone=SmallCnn(filters=2), decoder=DeepLabV3Plus(rates=(2,), filters=4)), (83, 97)),
        (Segmenter(backbone=DEEPLAB, decoder=DeepLabV1()), (75, 100)),
        (Segmenter(backbone=DEEPLAB, decoder=DeepLabV1(), scales=(1.0, 0.75, 0.5)), (75, 100)),
        (Segmenter(backbone=DEEPLAB, decoder=DeepLabV1(), grid=0), (75, 100)),
        (Segmenter(backbone=DILATED, decoder=Dilation()), (75, 100)),
        (Segmenter(backbone=DILATED, decoder=Dilation(), grid=0), (75, 100)),
        (Segmenter(backbone=ContractingPath(filters=2), decoder=Unet()), (75, 51)),
        (Segmenter(backbone=INDEXED, decoder=SegNet(), grid=0), (75, 51)),
    ],
    ids=[
        "half_pixels",
        "half_pixels_on_1",
        "unpadded",
        "corners",
        "v3_plus",
        "interp",
        "scales",
        "interp_on_0",
        "zoom",
        "zoom_on_0",
        "unet",
        "none",
    ],
)
def test_labels_are_subsampled_at_the_positions_of_the_scores(spec: Segmenter, size: tuple[int, int]) -> None:
    """With scores equal to their index, the logits equal the index at the pixel from which its label is taken."""
    model = spec.build(LABELS, training=True)
    image, scores = random_image(*size), model.get_layer("scores").input
    head = keras.Model([scores, model.input], model.output["logits"])
    counts = model(image)["scores"].shape[1:3]
    for axis, (count, length) in enumerate(zip(counts, size, strict=True)):
        across = (-1, 1) if axis == 0 else (1, -1)
        numbers = np.broadcast_to(
            np.arange(count, dtype=np.float32).reshape(across)[..., None], (*counts, scores.shape[-1])
        )
        found = np.asarray(head([numbers[None], image]))[0, :, :, 0].take(0, 1 - axis)
        pixels = np.broadcast_to(np.arange(length, dtype=np.int32).reshape(across), size)[None]
        taken = np.asarray(subsample(pixels, counts, spec.positions, ignore_label=-1))[0].take(0, 1 - axis)
        inside = taken >= 0
        assert inside[: length * count // (length + 32)].all()
        assert (np.diff(taken[inside]) > 0).all()
        np.testing.assert_allclose(
            found[taken[inside]], np.flatnonzero(inside), rtol=0, atol=0.5 * count / length + 1e-3
        )


@pytest.mark.parametrize("size", [320, 375, 500, 362, 321])
def test_labels_of_interp_are_subsampled_by_8(size: int) -> None:
    """DeepLab pads its labels with the ignore label to 8 k + 1 and takes `[::8]`."""
    spec = Segmenter(backbone=DEEPLAB, decoder=DeepLabV1())
    assert spec.positions == Positions(None, True, (8, 1))
    labels = np.random.default_rng(0).integers(0, 20, (1, size, 9)).astype(np.int32)
    rows = -(-(size - 1) // 8) + 1
    expected = np.full((1, rows, 2), 255)
    expected[:, : len(labels[0, ::8])] = labels[:, ::8, ::8]
    np.testing.assert_array_equal(subsample(labels, (rows, 2), spec.positions), expected)

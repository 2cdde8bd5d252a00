"""TFLite files of every kind: networks with imported weights compute the same outputs as the files.

Tolerances are relative to the largest output of a file. Float32 differs by the order of summation: 1e-5. Float16
constants are converted to float32 before use, but the mean of the preprocessing is one of them: 1e-3. If the
interpreter rounds activations to 8 bits, these differ, and not the weights: 3 %. Imported weights are within half a
quantization step of the converted ones, the maximal rounding error; weights of the first layer within one step, because
the scale of the preprocessing is rounded too.
"""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from tests.weights.converted import KINDS, computed, converted, packed, renamed
from tests.weights.foreign import built, classes, scores
from tests.weights.test_slim import MOBILE, by_hand, mobilenet_v2
from tfseg.backbones import MobileNetV2
from tfseg.errors import WeightsError
from tfseg.layers import Normalize
from tfseg.models import Segmenter
from tfseg.models.decoders import DeepLabV3, Fcn
from tfseg.weights import WeightsReport, fill, read_arrays
from tfseg.weights.flatbuffer import Graph, Operation
from tfseg.weights.tflite import arrays_in

TOLERANCES = {"float32": 1e-5, "float16": 1e-3, "dynamic": 0.03, "int8": 0.03, "uint8": 0.03}
DEEPLAB = Segmenter(
    backbone=MobileNetV2(width_multiplier=0.35, output_stride=16), decoder=DeepLabV3(rates=(2, 3), filters=8), grid=None
)


def small() -> keras.Model:
    """Returns a network with every operation that has weights, and BatchNorm after some."""
    x = image = keras.Input((None, None, 3), name="image")
    x = Normalize("torch", name="normalize")(x)
    x = keras.layers.Conv2D(8, 3, 2, "same", use_bias=False, name="first")(x)
    x = keras.layers.ReLU(6.0, name="first_relu")(keras.layers.BatchNormalization(name="first_bn")(x))
    x = keras.layers.DepthwiseConv2D(3, 1, "same", dilation_rate=2, use_bias=False, depth_multiplier=2, name="deep")(x)
    x = keras.layers.ReLU(name="deep_relu")(keras.layers.BatchNormalization(name="deep_bn")(x))
    x = keras.layers.Conv2D(8, 3, 1, "same", dilation_rate=3, activation="relu", name="wide")(x)
    x = keras.layers.Dense(6, activation="relu", name="dense")(x)
    return keras.Model(image, keras.layers.Conv2DTranspose(3, 4, 2, "same", name="up")(x))


def randomized(model: keras.Model) -> keras.Model:
    """Assigns random weights, such that scores differ between positions."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name in ("beta", "bias", "moving_mean"):
            weight.assign(random.normal(0, 0.1, weight.shape))
        elif weight.name in ("gamma", "moving_variance"):
            weight.assign(random.uniform(0.7, 1.5, weight.shape))
        elif weight.name == "kernel":
            shape = tuple(weight.shape)
            fan = shape[0] * shape[1] * (1 if "depthwise" in weight.path or "deep/" in weight.path else shape[-2])
            weight.assign(random.normal(0, (2 / fan) ** 0.5, shape))
    return model


def images(count: int = 3, size: int = 33, low: float = 0.0, high: float = 255.0) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    coarse = [random.uniform(low, high, (1, 5, 5, 3)) for _ in range(count)]
    return [tf.image.resize(each, (size, size)).numpy() for each in coarse]


def filled(network: keras.Model, content: bytes, folder: Path, **arguments) -> WeightsReport:
    (folder / "network.tflite").write_bytes(content)
    return fill(network, read_arrays(folder / "network.tflite"), "network.tflite", **arguments)


def relative_difference(network: keras.Model, content: bytes, inputs: list[np.ndarray]) -> float:
    """Returns the largest difference relative to the largest output."""
    expected = np.stack([computed(content, image) for image in inputs])
    found = np.stack([np.asarray(network(image)) for image in inputs])
    assert np.std(expected) > 0.05 * np.abs(expected).max()
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
def test_every_operation_with_weights(kind: str, tmp_path: Path) -> None:
    """Measured: 3e-7, 5e-4, 0.007, 0.016, 0.016."""
    source, target = randomized(small()), small()
    content = converted(source, kind, images())
    report = filled(target, content, tmp_path)
    assert (len(report.filled), report.initial, report.unused, report.folded) == (7, (), (), ("first_bn", "deep_bn"))
    assert report.naming == "the network's own names, as a converter wrote them"
    assert relative_difference(target, content, images()) < TOLERANCES[kind]
    for name in ("first", "deep", "wide", "dense", "up"):
        expected, found = folded(source, name), np.array(target.get_layer(name).kernel)
        most = np.abs(expected).max()
        step = {"float32": 1e-6, "float16": 2**-11}.get(kind, 0.51 / 127)
        atol = most * step * (2 if name == "first" else 1)
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol, err_msg=name)


def folded(model: keras.Model, name: str) -> np.ndarray:
    """Returns the kernel of a layer with the scale of the BatchNorm after it folded in."""
    kernel = np.array(model.get_layer(name).kernel)
    if f"{name}_bn" not in {layer.name for layer in model.layers}:
        return kernel
    norm = model.get_layer(f"{name}_bn")
    scale = np.array(norm.gamma) / np.sqrt(np.array(norm.moving_variance) + norm.epsilon)
    return kernel * (scale.reshape(kernel.shape[-2:]) if name == "deep" else scale)


@pytest.mark.slow
def test_deeplab_v3_on_mobilenet_v2(tmp_path: Path) -> None:
    """Names of composite layers are included. Measured: 3e-5, after 56 convolutions with random weights.

    The rounding errors of 8-bit activations grow with depth in the file; imported weights are within half a step.
    """
    inputs = images(size=65)
    source, plain, quantized = (
        randomized(DEEPLAB.build(classes(4))),
        DEEPLAB.build(classes(4)),
        DEEPLAB.build(classes(4)),
    )
    content = converted(source, "float32", inputs)
    for network, each in ((plain, content), (quantized, converted(source, "uint8", inputs))):
        report = filled(network, each, tmp_path, required=DEEPLAB.backbone.layer_names(3), classes=4)
        assert (len(report.filled), report.initial, report.unused, len(report.folded)) == (113, (), (), 56)
    assert relative_difference(plain, content, inputs) < 1e-4
    for expected, found in zip(plain.weights, quantized.weights, strict=True):
        if found.name == "kernel":
            axes = (0, 1) if "depthwise" in found.path else (0, 1, 2)
            step = np.abs(expected).max(axes, keepdims=True) / 127
            assert np.all(np.abs(np.array(found) - expected) <= 0.51 * step), found.path


@pytest.fixture(scope="module")
def slim() -> bytes:
    """Returns a file with TF-slim names as written by the current converter, for pixels in -1..1."""
    arrays = mobilenet_v2().arrays
    return converted(lambda x: by_hand(arrays, (x + 1) * 127.5), "float32", images(1, 65, -1, 1))


def old(name: str, constant: bool) -> str:
    """Returns the name that TOCO wrote for networks with quantization-aware training."""
    first = name.split(";")[0]
    for last in ("/depthwise", "/Conv2D"):
        found = [part for part in name.split(";") if part.rstrip("0123456789").endswith(last)]
        if constant and found:
            scope = found[0].rpartition("/")[0]
            bias = name != found[0] and "Fused" in name
            return f"{scope}/Conv2D_Fold_bias" if bias else f"{scope}/weights_quant/FakeQuantWithMinMaxVars"
    return first


def nameless(name: str, constant: bool) -> str:
    return f"constant_{abs(hash(name))}" if constant and "semantic" not in name else name


@pytest.mark.parametrize("name", [None, old, nameless])
def test_names_of_tf_slim(name, slim: bytes, tmp_path: Path) -> None:
    """Names of the current converter, of TOCO, and of a converter without names of constants."""
    content = slim if name is None else renamed(slim, name)
    model, backbone = built(MOBILE)
    report = filled(model, content, tmp_path, required=backbone, classes=3)
    assert report.naming == "TF-slim names"
    assert (len(report.filled), report.initial, report.unused, len(report.folded)) == (109, (), (), 54)
    for image in images(2, 65):
        expected = by_hand(mobilenet_v2().arrays, image)
        np.testing.assert_allclose(scores(model, image), expected, atol=1e-4)


def test_constants_without_names_are_unused(slim: bytes, tmp_path: Path) -> None:
    content = renamed(slim, lambda name, constant: f"tensor_{len(name)}" if "aspp0" in name else name)
    model, backbone = built(MOBILE)
    with pytest.raises(WeightsError) as error:
        filled(model, content, tmp_path, required=backbone)
    assert "  aspp/pointwise: not in the file; expected aspp0/weights or " in str(error.value)
    assert "  left over in the file: tensor_" in str(error.value)


def test_a_quantized_network_with_tf_slim_names(tmp_path: Path) -> None:
    """Kernels with folded BatchNorm are within half a quantization step of the converted ones."""
    arrays = mobilenet_v2().arrays
    content = converted(lambda x: by_hand(arrays, (x + 1) * 127.5), "int8", images(2, 65, -1, 1))
    model, backbone = built(MOBILE)
    report = filled(model, content, tmp_path, required=backbone)
    assert (len(report.filled), report.unused) == (109, ())
    scope = "MobilenetV2/expanded_conv_5/expand"
    factor = arrays[f"{scope}/BatchNorm/gamma"] / np.sqrt(arrays[f"{scope}/BatchNorm/moving_variance"] + 1e-3)
    expected, found = arrays[f"{scope}/weights"] * factor, np.array(model.get_layer("block_5_expand").kernel)
    step = np.abs(expected).max((0, 1, 2)) / 127
    assert np.all(np.abs(found - expected) <= 0.51 * step)


def test_weights_of_a_backbone(slim: bytes, tmp_path: Path) -> None:
    """Layers outside the backbone are filled if they match."""
    path = tmp_path / "slim.tflite"
    path.write_bytes(slim)
    backbone = MobileNetV2(width_multiplier=0.125, divisor=4, output_stride=16, weights=path)
    for decoder, rest in ((MOBILE.decoder, {"score"}), (Fcn(strides=(16,)), {"score_fr"})):
        model = Segmenter(backbone=backbone, decoder=decoder).build(classes(5))
        report = backbone.load_weights(model)
        assert report is not None and set(report.initial) == rest
        assert "logits/semantic" in report.left_over
        kernel = np.array(model.get_layer("Conv1").kernel)
        alone, _ = built(MOBILE)
        filled(alone, slim, tmp_path)
        np.testing.assert_array_equal(kernel, alone.get_layer("Conv1").kernel)


# Differences in representation.


def network(*layers: keras.layers.Layer) -> keras.Model:
    x = image = keras.Input((None, None, 3))
    for layer in layers:
        x = layer(x)
    return keras.Model(image, x)


def sparse(kernel: np.ndarray, rate: int) -> np.ndarray:
    """Returns the kernel dilated with zeros."""
    size = rate * (kernel.shape[0] - 1) + 1
    found = np.zeros((size, size, *kernel.shape[2:]), np.float32)
    found[::rate, ::rate] = kernel
    return found


@pytest.mark.parametrize("kind", ["float32", "int8"])
@pytest.mark.parametrize("depthwise", [False, True])
def test_kernels_dilated_with_zeros(kind: str, depthwise: bool, tmp_path: Path) -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 1 if depthwise else 4)).astype(np.float32)

    def explicit(x: tf.Tensor) -> tf.Tensor:
        with tf.name_scope("wide"):
            if depthwise:
                return tf.nn.depthwise_conv2d(x, sparse(kernel, 4), [1, 1, 1, 1], "SAME", name="depthwise")
            return tf.nn.conv2d(x, sparse(kernel, 4), 1, "SAME", name="Conv2D")

    kinds = {True: keras.layers.DepthwiseConv2D, False: keras.layers.Conv2D}
    options = {"padding": "same", "dilation_rate": 4, "use_bias": False, "name": "wide"}
    model = network(kinds[depthwise](*(() if depthwise else (4,)), 3, **options))
    content = converted(explicit, kind, images())
    assert filled(model, content, tmp_path).unused == ()
    step = 1e-6 if kind == "float32" else 0.51 / 127
    np.testing.assert_allclose(model.get_layer("wide").kernel, kernel, rtol=0, atol=step * np.abs(kernel).max())
    assert relative_difference(model, content, images()) < TOLERANCES[kind]


@pytest.mark.parametrize("zeros", [False, True])
def test_convolutions_between_space_to_batch_and_batch_to_space(zeros: bool) -> None:
    """Older converters add the bias after `BATCH_TO_SPACE_ND`, possibly with a zero bias in the convolution."""
    scope = "MobilenetV2/expanded_conv_14/depthwise"
    names = ["x", f"{scope}/depthwise/SpaceToBatchND", f"{scope}/depthwise_weights", "zeros", f"{scope}/depthwise", "y",
             f"{scope}/BatchNorm/add", f"{scope}/Relu6"]  # fmt: skip
    kernel, bias = np.arange(27, dtype=np.float32).reshape(1, 3, 3, 3), np.arange(3, dtype=np.float32)
    operations = [
        Operation("SPACE_TO_BATCH_ND", (0,), (1,)),
        Operation("DEPTHWISE_CONV_2D", (1, 2, 3) if zeros else (1, 2), (4,)),
        Operation("BATCH_TO_SPACE_ND", (4,), (5,)),
        Operation("ADD", (5, 6), (7,)),
    ]
    arrays = arrays_in(Graph(names, operations, {2: kernel, 6: bias, **({3: 0 * bias} if zeros else {})}))
    np.testing.assert_array_equal(arrays[f"{scope}/kernel"][..., 0], kernel[0])
    np.testing.assert_array_equal(arrays[f"{scope}/bias"], bias)
    assert set(arrays) == {f"{scope}/kernel", f"{scope}/bias"}


def test_constants_without_a_layer_are_reported(tmp_path: Path) -> None:
    def scaled(x: tf.Tensor) -> tf.Tensor:
        with tf.name_scope("conv"):
            x = tf.nn.conv2d(x, np.ones((1, 1, 3, 4), np.float32), 1, "SAME", name="Conv2D")
        return tf.nn.relu(tf.sin(x) * tf.constant([1.0, 2.0, 3.0, 4.0], name="factors"), name="end")

    model = network(keras.layers.Conv2D(4, 1, use_bias=False, name="conv"))
    report = filled(model, converted(scaled, "float32", images()), tmp_path)
    assert report.filled == ("conv",)
    assert len(report.left_over) == 1 and str(report).endswith(f"\n  left over  {report.left_over[0]}")


def test_uint8_with_per_tensor_scale_and_zero_point(slim: bytes, tmp_path: Path) -> None:
    """Quantization of TOCO, where int32 biases have a scale too."""
    model = schema.ModelT.InitFromPackedBuf(slim, 0)
    kept = {}
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if data is None or tensor.type != schema.TensorType.FLOAT32 or len(tensor.shape) not in (1, 4):
            continue
        values = np.asarray(data, np.uint8).view(np.float32)
        quantization = tensor.quantization = schema.QuantizationParametersT()
        if len(tensor.shape) == 4:
            zero, scale, dtype, tensor.type = 100, np.abs(values).max() / 100, np.uint8, schema.TensorType.UINT8
        else:
            zero, scale, dtype, tensor.type = 0, 1e-4, np.int32, schema.TensorType.INT32
        codes = np.clip(np.round(values / scale) + zero, np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)
        quantization.scale, quantization.zeroPoint = np.float32([scale]), np.int64([zero])
        model.buffers[tensor.buffer].data = codes.view(np.uint8)
        kept[tensor.name.decode()] = scale
    (tmp_path / "float.tflite").write_bytes(slim)
    (tmp_path / "uint8.tflite").write_bytes(packed(model))
    expected, found = (read_arrays(tmp_path / f"{name}.tflite") for name in ("float", "uint8"))
    assert list(expected) == list(found)
    for name, array in expected.items():
        step = 1e-4 if name.endswith("bias") else np.abs(array).max() / 100
        np.testing.assert_allclose(found[name], array, rtol=0, atol=0.51 * step, err_msg=name)


def test_another_mean_of_pixels(tmp_path: Path) -> None:
    source, again, target = (
        network(Normalize(mode), keras.layers.Conv2D(4, 3, padding="same", name="conv"))
        for mode in ("tf", "tf", "torch")
    )
    with pytest.raises(WeightsError) as error:
        filled(target, converted(randomized(source), "float32", images()), tmp_path)
    assert (
        "  conv: the file subtracts the mean 127.5 from pixels, but the network subtracts 123.7, 116.3, 103.5\n"
        in str(error.value)
    )
    filled(again, converted(source, "float32", images()), tmp_path)
    np.testing.assert_allclose(again.get_layer("conv").kernel, source.get_layer("conv").kernel, rtol=1e-5)

"""DeconvNet and SegNet: published parameter counts, unpooling, image sizes and gradients."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_graph import loaded, narrow, weights
from tfseg.backbones import SmallCnn, Vgg16
from tfseg.context import Context
from tfseg.labels import Labels
from tfseg.layers import McDropout
from tfseg.models import Description, Norm, Segmenter, describe
from tfseg.models.decoders import DeconvNet, SegNet
from tfseg.models.heads import Resize

VOC = Labels(names=tuple(f"class {index}" for index in range(21)))
LABELS = Labels(names=("road", "car", "sky"))
DECONVNET = (Path(__file__).parent / "deconvnet_vgg16.yaml").read_text(encoding="utf-8")


def encoder(width: float = 1 / 32, **options: object) -> Vgg16:
    return Vgg16(width_multiplier=width, batch_norm=True, indices=True, fc=None, **options)


def deconvnet(width: float = 1 / 32) -> Segmenter:
    backbone = encoder(width, shift=0.001)
    return Segmenter(backbone=backbone, decoder=DeconvNet(filters=max(1, round(4096 * width))), norm=Norm(epsilon=1e-9))


def segnet(width: float = 1 / 32, dropout: str | None = None) -> Segmenter:
    return Segmenter(backbone=encoder(width, mc_dropout=dropout), decoder=SegNet(mc_dropout=dropout))


SMALL = {"deconvnet": deconvnet(), "segnet": segnet(), "bayesian segnet": segnet(dropout="all")}


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (2, height, width, 3)).astype(np.float32)


def described(model: Segmenter) -> Description:
    with keras.StatelessScope(initialize_variables=False):
        return describe(model.build(VOC))


def test_parameters_of_deconvnet() -> None:
    """Trainable parameters equal the published count. The mean and variance of 16,704 normalized channels are
    non-trainable."""
    description = described(deconvnet(1.0))
    assert (description.trainable, description.non_trainable) == (251_805_653, 2 * 16_704)
    assert (description.output_stride, description.output_shape) == (32, (None, None, None, 21))


def test_parameters_of_segnet() -> None:
    """Trainable parameters equal the published count, with and without dropout, which has no weights."""
    for dropout in (None, "central", "all"):
        description = described(segnet(1.0, dropout))
        assert (description.trainable, description.non_trainable) == (29_455_125, 2 * 7_936)


def test_feature_map_shapes_of_deconvnet() -> None:
    """Shapes match table 2 of the paper: from 224x224 to 1x1 and back, with fewer channels at the end of each block."""
    with keras.StatelessScope(initialize_variables=False):
        model = deconvnet(1.0).build(VOC)
        again = keras.models.clone_model(model, input_tensors=keras.Input((224, 224, 3), name="image"))
    shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in again.layers if "pool" not in layer.name}
    shapes |= {f"unpool{n}": tuple(again.get_layer(f"unpool{n}").output.shape[1:]) for n in range(1, 6)}
    expected = {"relu5_3": (14, 14, 512), "fc6": (1, 1, 4096), "fc7": (1, 1, 4096), "fc6_deconv": (7, 7, 512)}
    sides = {5: (14, (512, 512, 512)), 4: (28, (512, 512, 256)), 3: (56, (256, 256, 128)), 2: (112, (128, 64))}
    for block, (side, channels) in {**sides, 1: (224, (64, 64))}.items():
        into = {5: 512, 4: 512, 3: 256, 2: 128, 1: 64}[block]
        expected[f"unpool{block}"] = (side, side, into)
        expected |= {f"deconv{block}_{i + 1}": (side, side, c) for i, c in enumerate(channels)}
    assert {name: shapes[name] for name in expected} == expected
    assert shapes["seg_score"] == (224, 224, 21)


def test_feature_map_sizes_of_segnet_on_camvid() -> None:
    """Sizes match `upsample_w` and `upsample_h` of the prototxt: 30x23 to 60x45, where doubling would give 46."""
    model = segnet().build(LABELS)
    names = [f"unpool{n}" for n in (5, 4, 3, 2, 1)]
    maps = keras.Model(model.input, [model.get_layer(name).output for name in names])
    shapes = [tuple(x.shape[1:3]) for x in maps(image(360, 480)[:1])]
    assert shapes == [(23, 30), (45, 60), (90, 120), (180, 240), (360, 480)]


@pytest.mark.parametrize("name", SMALL)
def test_logits_have_the_image_size(name: str) -> None:
    """Sizes include a single pixel, where pool5 is smaller than fc6's 7x7 kernel, and sizes that are not divisible by
    the strides."""
    model = SMALL[name].build(LABELS)
    assert [type(layer).__name__ for layer in model.layers[-1:]] == ["Activation"]
    for height, width in ((1, 1), (33, 65), (47, 250)):
        logits = np.asarray(model(image(height, width)))
        assert logits.shape == (2, height, width, 3)
        assert np.isfinite(logits).all()


def test_unpooling_uses_the_argmax_indices() -> None:
    """At most one value per window and channel is nonzero, and it is at the position of the maximum."""
    model = deconvnet().build(LABELS)
    for number in range(1, 6):
        source = {1: "relu1_2", 2: "relu2_2", 3: "relu3_3", 4: "relu4_3", 5: "relu5_3"}[number]
        outputs = [model.get_layer(source).output, model.get_layer(f"pool{number}").output[0]]
        maps = keras.Model(model.input, [*outputs, model.get_layer(f"unpool{number}").output])
        before, pooled, after = (np.asarray(each) for each in maps(image(64, 96)))
        windows = after.reshape(2, after.shape[1] // 2, 2, after.shape[2] // 2, 2, -1)
        assert (np.count_nonzero(windows, axis=(2, 4)) <= 1).all()
        chosen = np.repeat(np.repeat(pooled, 2, 1), 2, 2)
        assert np.all(before[after != 0] == chosen[after != 0])
        assert np.any(after)


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_has_a_gradient(name: str) -> None:
    model = SMALL[name].build(LABELS, training=True)
    keras.utils.set_random_seed(2)
    for weight in model.trainable_weights:  # avoids dead ReLUs
        if "bias" in weight.path or "beta" in weight.path:
            weight.assign(tf.random.uniform(weight.shape, 0.1, 0.5))
    truth = np.random.default_rng(1).integers(0, 3, (2, 64, 96))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        value = loss(truth, model(image(64, 96), training=True)["logits"])
    gradients = tape.gradient(value, [weight.value for weight in model.trainable_weights])
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        assert gradient is not None and np.isfinite(gradient).all(), weight.path
        assert np.any(gradient), weight.path


def test_normalization_matches_the_released_network() -> None:
    model = deconvnet().build(LABELS)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 13 + 2 + 1 + 13
    assert {norm.epsilon for norm in norms} == {1e-9}
    for norm in norms:
        np.testing.assert_allclose(norm.beta, 0.001)
        np.testing.assert_allclose(norm.gamma, 1.0)
    assert not [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    kernel = np.asarray(model.get_layer("fc6_deconv").kernel)
    assert abs(kernel.std() - 0.01) < 1e-3


@pytest.mark.parametrize(
    ("form", "before"),
    [
        (
            "all",
            {f"pool{n}_drop": f"pool{n}" for n in range(1, 6)} | {f"unpool{n}_drop": f"unpool{n}" for n in range(1, 6)},
        ),
        (
            "central",
            {"pool3_drop": "conv4_1", "pool4_drop": "conv5_1"} | {f"unpool{n}_drop": f"unpool{n}" for n in range(2, 6)},
        ),
    ],
)
def test_positions_of_mc_dropout(form: str, before: dict[str, str]) -> None:
    """VOC has ten dropout layers, before every pool and unpooling; CamVid has six, around pool3, pool4, pool5 and their
    unpoolings."""
    model = segnet(dropout=form).build(LABELS)
    drops = {layer.name: layer for layer in model.layers if isinstance(layer, McDropout)}
    assert {name: drop._outbound_nodes[0].operation.name for name, drop in drops.items()} == before
    assert {drop.rate for drop in drops.values()} == {0.5}
    first, second = model(image(32, 32)), model(image(32, 32))
    assert np.any(np.asarray(first) != np.asarray(second))


def test_graph_and_family_build_the_same_network(tmp_path: Path) -> None:
    written = loaded(narrow(DECONVNET, 32), tmp_path).build(LABELS)
    family = deconvnet().build(LABELS)
    assert [layer.name for layer in written.layers] == [layer.name for layer in family.layers]
    assert weights(written) == weights(family)
    assert [w.path for w in written.trainable_weights] == [w.path for w in family.trainable_weights]
    for norm in (each for each in written.layers if isinstance(each, keras.layers.BatchNormalization)):
        assert norm.get_config() == {**family.get_layer(norm.name).get_config(), "dtype": norm.get_config()["dtype"]}
    written.set_weights(family.get_weights())
    for height, width in ((40, 33), (97, 64)):
        np.testing.assert_array_equal(written(image(height, width)), family(image(height, width)))
        assert float(keras.ops.std(written(image(height, width)))) > 0


def test_full_width_graph_has_the_published_parameter_count(tmp_path: Path) -> None:
    graph = loaded(DECONVNET, tmp_path)
    assert list(graph.problems(Context(VOC, 3))) == []
    with keras.StatelessScope(initialize_variables=False):
        assert describe(graph.build(VOC)).trainable == 251_805_653


def test_graph_infers_shapes_after_unpooling(tmp_path: Path) -> None:
    graph = loaded(narrow(DECONVNET, 32).replace('"${classes}"', "7"), tmp_path)
    [(path, message)] = graph.problems(Context(LABELS, 3))
    assert path == ("layers", 100)
    assert message == (
        "the last layer must output [batch, height, width, 3], one score per class. Received: [None, None, None, 7]"
    )


NO_INDICES = "do not return them. Set model.backbone to {type: vgg16, indices: true, fc: null}"


@pytest.mark.parametrize("decoder", [DeconvNet(), SegNet()])
def test_backbones_without_unpooling_are_reported(decoder: DeconvNet | SegNet) -> None:
    name = decoder.type
    cases = {
        f"{name} unpools by argmax indices, and the pools of vgg16 {NO_INDICES}": Vgg16(fc=None),
        f"{name} unpools by argmax indices, and the pools of small_cnn {NO_INDICES}": SmallCnn(),
        f"{name} starts from the last pool, and fc6 and fc7 of vgg16 would be unused. "
        "Set model.backbone.fc to null": Vgg16(indices=True),
        f"the scores of {name} have the size of the padded image, which vgg16 in its original form makes larger than "
        "the image. "
        "Set model.backbone.form to same": Vgg16(form="original", indices=True, fc=None),
    }
    for message, backbone in cases.items():
        model = Segmenter(backbone=backbone, decoder=decoder)
        assert list(model.problems(Context(LABELS, 3))) == [(("decoder",), message)]


def test_heads_for_scores_of_the_image_size_are_reported() -> None:
    spec = Segmenter(backbone=encoder(), decoder=SegNet(), head=Resize())
    message = "the decoder's scores already have the image size; set head to null. Received: resize"
    assert list(spec.problems(Context(LABELS, 3))) == [(("head",), message)]


def test_one_number_of_convolutions_per_pool() -> None:
    spec = Segmenter(backbone=encoder(), decoder=SegNet(convolutions=(3, 3)))
    message = "expected 5 numbers, one per pool of vgg16. Received: 2"
    assert list(spec.problems(Context(LABELS, 3))) == [(("decoder", "convolutions"), message)]

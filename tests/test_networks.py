"""Shipped networks in narrow versions: training, saving, evaluation and export, and fitting a few images."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfseg
from tests.networks import described, narrow, symbolic
from tests.tiers import rotating
from tfseg.exporting import verify
from tfseg.labels import Labels
from tfseg.pipeline import load
from tfseg.shipped import shipped
from tfseg.symbolic import symbolically
from tfseg.training.freezing import prepare
from tfseg.training.outputs import for_each

TABLE = {
    "fcn32s_vgg16_voc": (
        134_346_581,
        404,
        500,
        "conv1_1 698 pool1 349 pool2 175 pool3 88 pool4 44 pool5 22 fc7 16 upscore 544",
    ),
    "fcn16s_vgg16_voc": (134_357_354, 404, 500, "fc7 16 upscore2 34 upscore16 560"),
    "fcn8s_vgg16_voc": (134_362_751, 404, 500, "fc7 16 upscore2 34 upscore_pool4 70 upscore8 568"),
    "fcn8s_atonce_vgg16_voc": (134_362_751, 404, 500, "fc7 16 upscore2 34 upscore_pool4 70 upscore8 568"),
    "crf_rnn_fcn8s_voc": (134_378_186, 404, 500, "upscore2 34 upscore_pool4 70 upscore8 568 score 500 crf_rnn 500"),
    "fcn32s_alexnet_voc": (56_954_261, 355, 500, "conv1 173 pool1 86 pool2 43 pool5 21 fc7 16 upscore 543"),
    "fcn32s_googlenet_voc": (5_995_077, 715, 500, "upscore 703"),
    "deconvnet_vgg16_voc": (251_805_653, 596, 224, "pool1 112 pool5 7"),
    "segnet_vgg16_camvid": (29_449_355, 212, 224, "pool5 7"),
    "bayesian_segnet_vgg16_camvid": (29_449_355, 212, 224, "pool5 7"),
    "deeplab_v1_voc": (65_140_565, 323, 321, "pool1 161 pool2 81 pool3 41 pool4 41 pool5 41 fc7 41"),
    "deeplab_v1_7x7_voc": (134_346_581, 419, 513, "pool1 257 pool2 129 pool3 65 pool4 65 pool5 65 fc7 65"),
    "deeplab_v1_largefov_voc": (20_505_429, 435, 321, "pool3 41 pool5a 41 fc7 41"),
    "deeplab_v1_msc_voc": (66_346_686, 323, 321, "fc7 41"),
    "deeplab_v1_msc_largefov_voc": (21_711_550, 435, 321, "fc7 41"),
    "deeplab_v2_vgg16_largefov_voc": (20_505_429, 419, 513, "pool3 65 pool5 65"),
    "deeplab_v2_vgg16_aspp_s_voc": (37_877_652, 419, 513, "pool3 65 pool5 65"),
    "deeplab_v2_vgg16_aspp_l_voc": (37_877_652, 611, 321, "pool3 41 pool5 41"),
    "deeplab_v2_resnet101_voc": (44_048_532, 1419, 321, ""),
    "dilation_frontend_vgg16_voc": (134_346_581, 380, 528, "fc7 66"),
    "dilation_basic_vgg16_voc": (134_374_973, 908, 528, "fc7 66"),
    "dilation_large_vgg16_voc": (141_149_720, 908, 528, "fc7 66"),
}
"""Trainable parameters, receptive field, image side, and sides of feature maps after some layers, from the papers and
the released networks. SegNet has 29,455,125 parameters at 21 classes, 577 fewer per class that CamVid lacks. The
receptive field is that of the deepest feature map, before upsampling. The dilation network pads its 528 pixels by 186
on every side, to 900."""

NON_TRAINABLE = {
    "fcn32s_vgg16_voc": 1_806_336,
    "fcn16s_vgg16_voc": 458_640,
    "fcn8s_vgg16_voc": 127_008,
    "fcn8s_atonce_vgg16_voc": 127_776,
    "deconvnet_vgg16_voc": 33_408,
}
"""Non-trainable parameters of the released networks: bilinear kernels, and statistics of batch normalization."""
SHIPPED = [file.stem for file in shipped()]

IMAGES = {"2007_006704": 20, "2007_007908": 6, "2007_005428": 5, "2007_003917": 7}
"""Four images of VOC 2012 with one object each, and the class of the object."""
CLASSES = Labels(names=("ground", "screen", "bus", "bottle", "car"))


@pytest.mark.parametrize("name", TABLE)
def test_published_parameters_receptive_fields_and_sizes(name: str) -> None:
    trainable, field, side, maps = TABLE[name]
    facts, model = described(name), symbolic(name)
    assert (facts.trainable, facts.receptive_field) == (trainable, field)
    assert name not in NON_TRAINABLE or facts.non_trainable == NON_TRAINABLE[name]
    with keras.StatelessScope(initialize_variables=False):
        words = maps.split()
        for layer, expected in zip(words[::2], map(int, words[1::2]), strict=True):
            part = keras.Model(model.input, model.get_layer(layer).output)
            assert sides(part, side) == {(expected, expected)}, layer
        assert sides(model, side) == {(side, side)}


def sides(model: keras.Model, side: int) -> set[tuple[int, int]]:
    """Returns height and width of the outputs for a square image."""
    outputs = keras.tree.flatten(model.compute_output_spec(keras.KerasTensor((1, side, side, 3))))
    return {tuple(each.shape[1:3]) for each in outputs}


SCALES = "model.scales=[1.0, 0.5]"
LIGHT = "model.backbone={type: small_cnn, filters: 8}"
FEWER_CONVOLUTIONS = "model.decoder={type: segnet, convolutions: [1, 1, 1, 1, 1]}"
STRUCTURES = {
    "cropped deconvolutions": ("fcn8s_vgg16_voc",),
    "unpooling": (
        "segnet_vgg16_camvid",
        FEWER_CONVOLUTIONS,
        "model.backbone.width_multiplier=0.03125",
        "training.batch_norm_batches=0",
    ),
    "several scales": ("deeplab_v2_vgg16_largefov_voc", SCALES),
    "DeepLab v3+": ("deeplab_v3_plus_resnet101_voc", LIGHT),
}
"""Four structurally different networks, with light parts where a shipped network is slow."""
FITTED_AT_EVERY_PUSH = {"cropped deconvolutions", "unpooling"}


@pytest.mark.usefixtures("one_isolated_worker")
@pytest.mark.parametrize("structure", rotating(STRUCTURES, FITTED_AT_EVERY_PUSH))
def test_network_trains_saves_evaluates_and_exports(structure: str, tmp_path: Path) -> None:
    check_fit_and_export(tmp_path, *STRUCTURES[structure], size=33)


@pytest.mark.slow
@pytest.mark.usefixtures("one_isolated_worker")
@pytest.mark.parametrize("name", sorted({*SHIPPED} - {"shapes", "fcn8s_vgg16_voc"}))
def test_shipped_network_trains_saves_evaluates_and_exports(name: str, tmp_path: Path) -> None:
    check_fit_and_export(tmp_path, name)


@pytest.mark.slow
def test_export_is_verified_in_a_separate_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The export runs once as for a user, without a shared worker."""
    monkeypatch.setattr("tfseg.exporting.artifacts.run_artifacts", verify.run_artifacts)
    started, run = [], subprocess.run

    def recorded(command: list[str], **options: Any) -> Any:
        started.append(command)
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", recorded)
    check_fit_and_export(tmp_path, "shapes")
    assert [command[:3] for command in started] == [[sys.executable, "-P", str(verify.ISOLATED_WORKER)]]


def check_fit_and_export(folder: Path, name: str, *overrides: str, size: int = 65) -> None:
    shipped_as = load(name)
    pipeline = narrow(
        name,
        f"data.source={{type: shapes, size: {size}, train: 2, val: 1}}",
        "data.root=null",
        "data.train_split=train",
        "data.crop=null",
        "data.batch_size=2",
        "data.cache=false",
        "training.epochs=1",
        "training.gradient_accumulation_steps=1",
        "training.batch_norm=train",  # random weights have no statistics to keep
        *(["training.batch_norm_batches=1"] if shipped_as.training.batch_norm_batches else []),
        *([f"export.tflite.size=[{size}, {size}]"] if shipped_as.export.tflite is not None else []),
        *overrides,
    )
    lite = pipeline.export.tflite is not None
    run = tfseg.fit(pipeline, folder / "run", verbose=False)
    assert 0 <= run.metrics["val"]["miou"] <= 1
    before = symbolically(pipeline.build)
    after = run.model()
    assert [weight.path for weight in after.weights] == [weight.path for weight in before.weights]
    report = tfseg.export(run, folder / "exported")
    assert report.folder.is_dir() and (report.tflite is not None and report.tflite.is_file()) == lite
    assert len(report.comparisons) == 1 + lite  # SavedModel and TFLite file, each with the Keras model


STEPS_AT_EVERY_PUSH = (
    "crf_rnn_fcn8s_voc",
    "deconvnet_vgg16_voc",
    "deeplab_v1_msc_largefov_voc",
    "deeplab_v3_plus_resnet101_voc",
    "dilation_large_vgg16_voc",
    "fcn32s_googlenet_voc",
    "pspnet_resnet50_voc",
)
"""Seven networks that cover the layers of most others."""


@pytest.mark.parametrize("name", rotating(SHIPPED, STEPS_AT_EVERY_PUSH))
def test_every_trainable_variable_has_a_gradient(name: str) -> None:
    """Gradients of the training loss, including auxiliary outputs, are finite, and nonzero for every variable."""
    loss = f"training.loss={{type: cross_entropy, resolution: {load(name).training.loss.resolution}}}"
    pipeline = narrow(name, "training.batch_norm=train", "training.gradient_accumulation_steps=1", loss)
    model = pipeline.training.network(pipeline.build(training=True))
    pipeline.training.compile(model, pipeline.labels, steps_per_epoch=1, positions=pipeline.model.positions)
    random = np.random.default_rng(0)
    for weight in model.trainable_weights:  # zero-initialized scores block the gradients of earlier layers
        if weight.path.endswith("kernel") and not np.any(weight):
            weight.assign(random.normal(0, 0.05, weight.shape))
    # Two images, because batch normalization of a single value, as after global pooling, has no gradient.
    image = random.integers(0, 256, (2, 65, 65, model.inputs[0].shape[-1])).astype(np.float32)
    mask = random.integers(0, pipeline.labels.count, (2, 65, 65))
    with tf.GradientTape() as tape:
        loss = model.compute_loss(image, for_each(model, mask), model(image, training=True))
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    found = {weight.path: gradient for weight, gradient in zip(model.trainable_weights, gradients, strict=True)}
    assert not [path for path, gradient in found.items() if gradient is None or not np.isfinite(gradient).all()]
    assert not [path for path, gradient in found.items() if not np.any(gradient)]


def training_images(folder: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    images, masks = [], []
    for number, (name, voc) in enumerate(IMAGES.items(), start=1):
        image = Image.open(folder / "JPEGImages" / f"{name}.jpg").convert("RGB").resize((size, size))
        mask = Image.open(folder / "SegmentationClassAug" / f"{name}.png").resize(
            (size, size), Image.Resampling.NEAREST
        )
        ids = np.asarray(mask).astype(np.int32)
        images.append(np.asarray(image))
        masks.append(np.where(ids == voc, number, ids))
    return np.stack(images), np.stack(masks)


adam = partial(keras.optimizers.Adam, clipnorm=1.0)
momentum = partial(keras.optimizers.SGD, momentum=0.9)


class Learner(NamedTuple):
    """Settings with which a network fits a few images in few steps."""

    side: int = 65
    """Side of the images; larger for networks with a finest stride of 32."""
    width: float | None = None
    """Width multiplier of the backbone; None for that of `NARROW`."""
    optimizer: Callable[[], keras.optimizers.Optimizer] | None = None
    """Optimizer; None for the one that `default_optimizer` selects."""
    start: str | None = None
    """Pipeline whose weights, after twenty steps, are the initial ones. As published: with random weights, the ReLUs of
    a large context module, which is initialized as the identity, would die."""
    frozen: bool = False
    """Freezes BatchNorm after forty steps, as in the shipped pipeline. In a multi-scale network, moving statistics mix
    all scales, and differ from the batch statistics of each scale, on which the network was trained."""


MAX_STEPS = 1000
"""Maximum number of steps. Most networks need 40 to 100; those that unpool have needed up to 340, depending on their
initial weights."""
LEARNERS = {
    "bayesian_segnet_vgg16_camvid": Learner(width=0.25, optimizer=partial(adam, 5e-3)),
    "crf_rnn_fcn8s_voc": Learner(),
    "deconvnet_vgg16_voc": Learner(width=0.25, optimizer=partial(momentum, 0.3, clipnorm=1.0)),
    "deeplab_v1_7x7_voc": Learner(97),
    "deeplab_v1_largefov_voc": Learner(),
    "deeplab_v1_msc_largefov_voc": Learner(),
    "deeplab_v1_msc_voc": Learner(),
    "deeplab_v1_voc": Learner(),
    "deeplab_v2_resnet101_voc": Learner(97, frozen=True),
    "deeplab_v2_vgg16_aspp_l_voc": Learner(),
    "deeplab_v2_vgg16_aspp_s_voc": Learner(),
    "deeplab_v2_vgg16_largefov_voc": Learner(),
    "deeplab_v3_mobilenet_v2_257_voc": Learner(97),
    "deeplab_v3_plus_resnet101_voc": Learner(97),
    "deeplab_v3_resnet101_voc": Learner(97),
    "dilation_basic_vgg16_voc": Learner(width=0.0625, optimizer=partial(adam, 3e-3)),
    "dilation_frontend_vgg16_voc": Learner(),
    "dilation_large_vgg16_voc": Learner(width=0.0625, start="dilation_frontend_vgg16_voc"),
    "fcn16s_vgg16_voc": Learner(),
    "fcn32s_alexnet_voc": Learner(193),
    "fcn32s_googlenet_voc": Learner(193),
    "fcn32s_vgg16_voc": Learner(193),
    "fcn8s_atonce_vgg16_voc": Learner(193),
    "fcn8s_vgg16_camvid": Learner(193),
    "fcn8s_vgg16_voc": Learner(33),
    "fcn_mobilenet_v2_camvid": Learner(),
    "pspnet_resnet50_voc": Learner(97),
    "segnet_vgg16_camvid": Learner(33, optimizer=partial(adam, 5e-3)),
    "shapes": Learner(97),
    "unet_camvid": Learner(33),
}


LEARNING_AT_EVERY_PUSH = {
    "deeplab_v1_largefov_voc",  # atrous convolution
    "shapes",
}


@pytest.mark.parametrize("name", rotating(LEARNERS, LEARNING_AT_EVERY_PUSH))
def test_network_fits_four_real_images(name: str, shared: Path) -> None:
    """A mean IoU of 0.95, which allows for blurred outlines, requires correct gradients in all parts of the network."""
    learner = LEARNERS[name]
    images, masks = training_images(shared / "data" / "voc2012", learner.side)
    keras.utils.set_random_seed(0)
    model = learning(name, learner)
    batches = tf.data.Dataset.from_tensors((images, masks)).repeat()
    if learner.start is not None:
        start = learning(learner.start, learner)
        start.fit(batches, steps_per_epoch=20, shuffle=False, verbose=0)
        for layer in start.layers:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    if learner.frozen:
        model.fit(batches, steps_per_epoch=40, shuffle=False, verbose=0)
        prepare(model, batch_norm="frozen", freeze=(), synchronized=False)
        compiled(model, learner)
    for _ in range(MAX_STEPS // 20):
        model.fit(batches, steps_per_epoch=20, shuffle=False, verbose=0)
        if (found := mean_iou(model, images, masks)) > 0.95:
            return
    pytest.fail(f"mIoU {found:.3f} after {MAX_STEPS} steps")


def mean_iou(model: keras.Model, images: np.ndarray, masks: np.ndarray) -> float:
    """Returns the mean IoU at inference, computed eagerly: tracing `evaluate` takes longer than a few calls."""
    metric = tfseg.metrics.SegmentationMetrics(CLASSES.count, CLASSES.ignore)
    metric.update_state(masks, model(images, training=False))
    return float(metric.result()["miou"])


def test_every_shipped_network_has_settings() -> None:
    assert set(LEARNERS) == set(SHIPPED)


def learning(name: str, learner: Learner) -> keras.Model:
    """Returns the compiled network with random weights."""
    width = [] if learner.width is None else [f"model.backbone.width_multiplier={learner.width}"]
    return compiled(narrow(name, *width).model.build(CLASSES), learner)


def compiled(model: keras.Model, learner: Learner) -> keras.Model:
    optimizer = learner.optimizer() if learner.optimizer else default_optimizer(model)
    model.compile(optimizer, tfseg.losses.CrossEntropy(CLASSES.ignore), jit_compile=False)
    return model


def default_optimizer(model: keras.Model) -> keras.optimizers.Optimizer:
    """Returns SGD with momentum for networks with BatchNorm, which are invariant to the scale of their weights, and
    Adam for others."""
    normed = any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    return momentum(0.05, clipnorm=5.0) if normed else adam(1e-3)

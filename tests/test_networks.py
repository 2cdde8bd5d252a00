"""Every shipped network, narrow: trained, saved, measured and exported as a user would do it, and able to learn."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfseg
from tfseg.labels import Labels
from tfseg.pipeline import Pipeline, load, shipped
from tfseg.training.layers import prepare

NARROW = {
    "alexnet": {"width": 0.25},
    "contracting_path": {"width": 8},
    "googlenet": {"width": 0.25},
    "mobilenet_v2": {"alpha": 0.35},
    "resnet": {"width": 0.125, "depth": 50},
    "small_cnn": {"width": 8},
    "vgg16": {"width": 0.125},
    "deconvnet": {"filters": 128},
    "deeplab_v1": {"channels": 16},
    "deeplab_v3": {"channels": 32},
    "deeplab_v3_plus": {"channels": 32},
    "pspnet": {"filters": 32},
}
"""What makes each backbone and decoder small enough for a test."""

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
"""What the papers and the released networks say: learned parameters, receptive field, and for an image of that side the
sides of the maps behind some layers. SegNet has 29,455,125 at 21 classes, 577 fewer for each class that CamVid has not;
a receptive field is that of the deepest map, before pixels are brought back. The dilation net's 528 pixels are 900 once
it has continued the image by 186 on every side."""

PICTURES = {"2007_006704": 20, "2007_007908": 6, "2007_005428": 5, "2007_003917": 7}
"""Four pictures of VOC 2012 with one object each, and the class of that object."""
CLASSES = Labels(names=("ground", "screen", "bus", "bottle", "car"))


def narrow(file: Path, *overrides: str) -> Pipeline:
    """A shipped pipeline with fewer channels and random weights."""
    model = load(file).model
    parts = [] if not hasattr(model, "backbone") else [("backbone", model.backbone), ("decoder", model.decoder)]
    thinner = [
        f"model.{slot}.{key}={value}" for slot, part in parts for key, value in NARROW.get(part.type, {}).items()
    ]
    if parts:
        thinner += ["model.backbone.weights=null"]
    if getattr(parts and model.decoder, "hidden", None):
        thinner += ["model.decoder.hidden=64"]
    return load(file, (*thinner, *overrides))


@pytest.mark.parametrize("name", TABLE)
def test_a_classic_network_has_its_published_numbers(name: str) -> None:
    learned, field, side, maps = TABLE[name]
    pipeline = load(name)
    facts = pipeline.describe()
    assert (facts.trainable, facts.receptive_field) == (learned, field)
    with keras.StatelessScope(initialize_variables=False):
        model = pipeline.build()
        words = maps.split()
        for layer, expected in zip(words[::2], map(int, words[1::2]), strict=True):
            part = keras.Model(model.input, model.get_layer(layer).output)
            assert sides(part, side) == {(expected, expected)}, layer
        assert sides(model, side) == {(side, side)}


def sides(model: keras.Model, side: int) -> set[tuple[int, int]]:
    """Height and width of the outputs for a square image."""
    outputs = keras.tree.flatten(model.compute_output_spec(keras.KerasTensor((1, side, side, 3))))
    return {tuple(each.shape[1:3]) for each in outputs}


@pytest.mark.slow
@pytest.mark.parametrize("file", shipped(), ids=lambda file: file.stem)
def test_a_shipped_network_takes_a_step_is_saved_reloaded_measured_and_exported(file: Path, tmp_path: Path) -> None:
    size = 65
    shipped_as = load(file)
    lite = shipped_as.export.tflite is not None
    pipeline = narrow(
        file,
        f"data.source={{type: shapes, size: {size}, train: 2, val: 1}}",
        "data.root=null",
        "data.train_split=train",
        "data.crop=null",
        "data.batch_size=2",
        "data.cache=false",
        "training.epochs=1",
        "training.accumulate=1",
        "training.batch_norm=train",  # random weights have no statistics to keep
        *(["training.batch_norm_batches=1"] if shipped_as.training.batch_norm_batches else []),
        *([f"export.tflite.size=[{size}, {size}]"] if lite else []),
    )
    run = tfseg.fit(pipeline, tmp_path / "run", verbose=False)
    assert 0 <= run.metrics["val"]["miou"] <= 1
    before = pipeline.build()
    after = run.model()
    assert [weight.path for weight in after.weights] == [weight.path for weight in before.weights]
    report = tfseg.export(run, tmp_path / "exported")
    assert report.folder.is_dir() and (report.tflite is not None and report.tflite.is_file()) == lite
    assert len(report.comparisons) == 1 + lite  # the SavedModel and the TFLite file, each with the Keras model


def pictures(folder: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    images, masks = [], []
    for number, (name, voc) in enumerate(PICTURES.items(), start=1):
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
    """How a network learns pictures by heart in few steps."""

    side: int = 65
    """Height and width of the pictures: larger for networks that see outlines at stride 32 only."""
    width: float | None = None
    """Of the backbone; without it that of `NARROW`."""
    optimizer: Callable[[], keras.optimizers.Optimizer] | None = None
    """Without it, what is `usual`."""
    start: str | None = None
    """Whose weights it starts from, after twenty steps. As published: behind random ones the ReLUs of a large context,
    which starts as the identity, would die."""
    frozen: bool = False
    """After forty steps BatchNorm keeps its statistics, as the shipped file has it: where one sees an image at several
    scales, its moving statistics are those of all scales together, and what was learned by each scale's own is lost."""


STEPS = 1000
"""In which every network has learned: most need 40 to 100. Those that unpool stand still for a while, and have been
seen to need 340, by the luck of their weights."""
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
    "fcn8s_vgg16_voc": Learner(),
    "fcn_mobilenet_v2_camvid": Learner(),
    "pspnet_resnet50_voc": Learner(97),
    "segnet_vgg16_camvid": Learner(optimizer=partial(adam, 5e-3)),
    "shapes": Learner(97),
    "unet_camvid": Learner(97),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNERS)
def test_a_network_learns_four_real_pictures_by_heart(name: str, shared: Path) -> None:
    """Where gradients did not reach a part, or were wrong, it would not: 0.95 leaves room for blurred outlines only."""
    learner = LEARNERS[name]
    images, masks = pictures(shared / "data" / "voc2012", learner.side)
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
    for _ in range(STEPS // 20):
        model.fit(batches, steps_per_epoch=20, shuffle=False, verbose=0)
        if (found := model.evaluate(batches, steps=1, verbose=0, return_dict=True)["miou"]) > 0.95:
            return
    pytest.fail(f"mIoU {found:.3f} after {STEPS} steps")


def test_no_network_is_left_out() -> None:
    assert set(LEARNERS) == {file.stem for file in shipped()}


def learning(name: str, learner: Learner) -> keras.Model:
    """The network with random weights, ready for `fit`."""
    width = [] if learner.width is None else [f"model.backbone.width={learner.width}"]
    return compiled(narrow(Path(name), *width).model.build(CLASSES), learner)


def compiled(model: keras.Model, learner: Learner) -> keras.Model:
    metric = tfseg.metrics.SegmentationMetrics(CLASSES.count, CLASSES.ignore)
    optimizer = learner.optimizer() if learner.optimizer else usual(model)
    model.compile(optimizer, tfseg.losses.CrossEntropy(CLASSES.ignore), metrics=[metric], jit_compile=False)
    return model


def usual(model: keras.Model) -> keras.optimizers.Optimizer:
    """Momentum where BatchNorm makes the size of weights meaningless, Adam where nothing does."""
    normed = any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    return momentum(0.05, clipnorm=5.0) if normed else adam(1e-3)

"""Every option matters: each field of a pipeline, changed alone, gives another network, data set, training or result.

`OPTIONS` has an entry for each field that a pipeline file can set. Pipelines are read as a file with overrides is,
and what is compared comes out of the functions that the commands call.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfseg
from tfseg import fitting, run
from tfseg.data.dataset import arrays
from tfseg.data.inspect import check
from tfseg.errors import DataError, ExportError
from tfseg.export import artefacts
from tfseg.labels import LABELS, labels_text, voc_palette
from tfseg.models.nodes import IMAGE, NODES, Node
from tfseg.ops.weightless import weightless
from tfseg.pipeline import Pipeline, load
from tfseg.run_directory import PIPELINE
from tfseg.spec.declare import members
from tfseg.spec.show import dump
from tfseg.spec.slots import _is_spec, _specs, _unions, slots
from tfseg.training.files import BEST, LAST
from tfseg.training.outputs import for_each

TINY = """\
name: tiny
labels: {names: [ground, disc, square]}
data: {source: {type: shapes, size: 32, train: 6, val: 3, test: 2}, batch_size: 2}
model:
  type: graph
  layers:
  - {name: conv, layer: conv, filters: 4, kernel_size: 3, padding: same}
  - {name: norm, layer: batch_normalization}
  - {name: score, layer: conv, filters: "${classes}", kernel_size: 1}
training: {epochs: 3}
export: {tolerance: 0.01}
"""

PLUGIN = '''
from typing import Literal

from tfseg.spec import spec


@spec
class Mine:
    """A user's own decoder."""

    type: Literal["mine"] = "mine"


COMPONENTS = {"decoder": [Mine]}
'''

Overrides = tuple[str, ...]


# What an option may change.


def digest(values: Any) -> list[tuple[tuple[int, ...], str]]:
    """Arrays, also those in dicts, short enough to be compared and shown."""
    found = [np.asarray(value) for value in keras.tree.flatten(list(values))]
    return [(value.shape, hashlib.sha256(value.tobytes()).hexdigest()[:12]) for value in found]


def built(pipeline: Pipeline, training: bool = False) -> keras.Model:
    """A network of which only shapes are looked at."""

    def build() -> keras.Model:
        with pipeline.training.scope(pipeline.seed):
            return pipeline.build(training=training)

    return weightless(build)


def network(pipeline: Pipeline) -> Any:
    """Layers and weights as they are built."""
    model = built(pipeline)
    config = {key: value for key, value in model.get_config().items() if key != "name"}  # Keras counts the models
    return str(config), [(weight.path, weight.shape, weight.trainable) for weight in model.weights]


def trained(pipeline: Pipeline) -> Any:
    """The outputs of the form that is trained."""
    return {name: output.shape for name, output in built(pipeline, training=True).output.items()}


def filled(pipeline: Pipeline) -> Any:
    """The weights that a training starts from."""
    with pipeline.training.scope(pipeline.seed):
        model = pipeline.build()
        fitting.load_weights(pipeline, model)
    return digest(model.get_weights())


def trained_on(pipeline: Pipeline) -> Any:
    """The batches of one epoch."""
    batches = arrays(pipeline.data.training(pipeline.labels, seed=pipeline.seed, epochs=1))
    return [digest(batch) for batch in batches]


def held_out(pipeline: Pipeline) -> Any:
    """The pictures of the split `test`."""
    return [digest(pair) for pair in arrays(pipeline.data.evaluation("test", pipeline.labels))]


def faults(pipeline: Pipeline) -> Any:
    """What `tfseg data check` finds."""
    return check(pipeline.data, pipeline.labels)


def kept(pipeline: Pipeline) -> Any:
    """The batches that can still be read when the files are gone."""
    root = pipeline.data.root
    assert root is not None
    dataset = pipeline.data.training(pipeline.labels, seed=0, epochs=1)
    away = root.rename(root.with_name("away"))
    try:
        return [digest(batch) for batch in arrays(dataset)]
    except DataError:
        return "files are read again"
    finally:
        away.rename(root)


class _Fit(Exception):
    """Ends a training where Keras would begin."""


def fit(pipeline: Pipeline, folder: Path) -> Any:
    """What `tfseg fit` gives to Keras: the compiled network, three of its steps, and the arguments of `fit`."""
    seen: dict[str, Any] = {}

    def record(model: keras.Model, data: Any, *, validation_data: Any, **given: Any) -> None:
        scores = np.random.default_rng(0).normal(size=(2, 4, 4, pipeline.labels.count)).astype(np.float32)
        pair = [for_each(model, value) for value in (np.arange(32).reshape(2, 4, 4) % 7 % 3, scores)]
        seen["loss"] = float(model.compute_loss(None, *pair))
        seen["outputs"] = model.output_names
        seen["layers"] = [(layer.name, layer.dtype_policy.name, layer.trainable) for layer in model.layers]
        seen["synchronized"] = [getattr(layer, "synchronized", None) for layer in model.layers]
        seen["compiled"] = (model.jit_compile, tf.distribute.has_strategy(), type(model.optimizer).__name__)
        seen["callbacks"] = [vars(each).get("length") for each in given["callbacks"]]
        seen["given"] = {key: given[key] for key in ("epochs", "initial_epoch", "validation_freq", "steps_per_epoch")}
        seen["batches"] = (int(data.cardinality()), digest(next(data.as_numpy_iterator())))
        seen["validated on"] = [digest(pair) for pair in validation_data.as_numpy_iterator()]
        for _ in range(0 if tf.distribute.has_strategy() else 3):
            model.optimizer.apply([tf.ones_like(weight) for weight in model.trainable_weights])
        seen["weights"] = digest(model.get_weights())
        raise _Fit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "fit", record)
        with pytest.raises(_Fit):
            tfseg.fit(pipeline, folder, verbose=False)
    return seen


def finished(pipeline: Pipeline, folder: Path) -> Path:
    """A run directory as a training leaves it, of a network that learned nothing."""
    folder.mkdir()
    (folder / PIPELINE).write_text(dump(pipeline))
    (folder / LABELS).write_text(labels_text(pipeline.labels))
    with pipeline.training.scope(pipeline.seed):
        pipeline.build().save(folder / BEST)
    return folder


def measured(pipeline: Pipeline, folder: Path) -> Any:
    """The networks of a training that has ended, with their statistics."""
    source = run.Run(finished(pipeline, folder), allow_plugins=True)
    with pipeline.training.scope(pipeline.seed):
        pipeline.build().save(folder / LAST)
    fitting.measure_batch_norm(pipeline, source, verbose=False)
    return [digest(source.model(name).get_weights()) for name in (BEST, LAST)]


def predict(pipeline: Pipeline, folder: Path) -> Any:
    """The files of `tfseg predict --overlay`."""
    picture = Path("all/train/images/0.png")
    files = run.predict(finished(pipeline, folder), [picture], folder / "masks", overlay=True)
    return [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]


def export(pipeline: Pipeline, folder: Path) -> Any:
    """What `tfseg export` leaves, if its artefacts were wrong by 0.005: they are not written here, only asked for."""
    expected: dict[str, np.ndarray] = {}

    def expectations(model: keras.Model, asked: Any) -> Any:
        expected.update(compute(model, asked))
        return expected

    def answers(*_: Any) -> Any:
        return {key: value + (0 if key.endswith("mask") else 0.005) for key, value in expected.items()}

    compute = artefacts.expectations
    source = finished(pipeline, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artefacts, "expectations", expectations)
        patch.setattr(artefacts, "ask", answers)
        patch.setattr(artefacts, "write_saved_model", lambda model, path: path.mkdir(parents=True, exist_ok=True))
        patch.setattr(artefacts, "write_tflite", lambda model, path, size: path.write_bytes(b""))
        patch.setattr(artefacts, "append_labels", lambda path, labels: None)
        try:
            report = run.export(source, folder / "out")
        except ExportError:
            return "refused"
    files = sorted(str(file.relative_to(folder)) for file in report.folder.iterdir())
    return files, (report.folder / LABELS).read_text(), [(one.images, one.pixels) for one in report.comparisons]


def choices(pipeline: Pipeline) -> Any:
    """The specs that may stand in each slot."""
    return {slot: [member.__name__ for member in found] for slot, found in slots(type(pipeline)).items()}


# The options.


class Option(NamedTuple):
    """Overrides to start from, those that change one field, and where that shows."""

    shows: Callable[..., Any]
    base: Overrides
    changed: Overrides | None
    """None: the same, refused, so that nothing else can be chosen there."""


def option(shows: Callable[..., Any], base: str | Overrides, changed: str | Overrides) -> Option:
    return Option(shows, *((given,) if isinstance(given, str) else given for given in (base, changed)))


OBJECTS = "data.boxes={type: objects, smallest: 9, size: 24}"
PROPOSED = "data.boxes={type: proposals, smallest: 9, size: 24}"
BOXED = "inference.proposals={min_side: 4, size: 16}"
CRF = "inference.crf={parameters: deeplab_v1}"
TOGETHER = "inference.ensemble={network: one.keras}"
CNN = "model={backbone: {type: small_cnn, width: 2}, decoder: {type: fcn, strides: [16, 8]}}"
VGG = "model={backbone: {type: vgg16, width: 0.015625}, decoder: fcn}"
DECONV = "model.decoder={type: fcn, upsampling: deconv}"
MOBILE = "model={backbone: {type: mobilenet_v2, alpha: 0.35}, decoder: {type: fcn, strides: [16]}}"
ALEX = "model={backbone: {type: alexnet, width: 0.02}, decoder: {type: fcn, strides: [32]}}"
APPLICATION = "model={backbone: {type: applications, name: MobileNet}, decoder: {type: fcn, strides: [32]}}"
GOOGLE = ALEX.replace("alexnet", "googlenet")
RESNET = "model={backbone: {type: resnet, depth: 50, width: 0.02}, decoder: {type: fcn, strides: [32]}}"
UNET = "model={backbone: {type: contracting_path, width: 2}, decoder: unet}"
PSPNET = "model={backbone: {type: small_cnn, width: 2}, decoder: {type: pspnet, filters: 4}}"
INDEXED = "{type: vgg16, width: 0.015625, batch_norm: true, indices: true, fc: null}"
DECONVNET = f"model={{backbone: {INDEXED}, decoder: {{type: deconvnet, filters: 4}}}}"
RELEASED = "model={backbone: {type: vgg16, form: deeplab, output_stride: 8, width: 0.015625}, decoder: deeplab_v1}"
MSC = (RELEASED, "model.decoder.multi_scale=true")
ASPP = RELEASED.replace("deeplab_v1", "deeplab_v2")
REFINED = (CNN, "export.tflite=null", "model.refine=crf_rnn")
WINDOWED = (CNN, "model.refine={type: crf_rnn, kernel: convolutional}")
DILATION = RELEASED.replace("deeplab_v1", "dilation").replace("deeplab,", "dilation,")
CONTEXT = (DILATION, "model.decoder.context=basic")
SEGNET = f"model={{backbone: {INDEXED}, decoder: segnet}}"
DEEPLAB = "model={backbone: {type: small_cnn, width: 2}, decoder: {type: deeplab_v3, channels: 4}}"
WHOLE_MOBILE = MOBILE.replace("[16]", "[32]")
BACKBONE, DECODER, SOURCE, MASK = "model.backbone", "model.decoder", "data.source", "data.source.mask"
ALL, FOLDER = ("data={root: all, source: voc, batch_size: 2}", "data={root: all, source: folder, batch_size: 2}")
PARTS = "{{type: folder, images: 'images/{{name}}.png', masks: 'masks/{{name}}.png', fractions: {}}}"
FLAT = "data={{root: flat, batch_size: 2, source: " + PARTS + "}}"
COLOURED = "data={root: coloured, source: folder}"
BLACK = ("labels.names=[a, b]", "data={root: black, source: folder}")
HARDEST = "training.loss={type: top_k_cross_entropy, pixels: 3}"
SGD, STEP = "training.optimizer=sgd", "training.schedule={type: step, every: 1}"
VOC_COLOURS, OTHERS = "[[0, 0, 0], [128, 0, 0], [0, 128, 0]]", "[[0, 0, 9], [0, 9, 0], [9, 0, 0]]"
ONE_LAYER = "model={type: graph, layers: [{name: a, layer: conv, filters: 3, kernel_size: 1}]}"
SAMPLED = ONE_LAYER.replace("[{", "[{name: drop, layer: mc_dropout, rate: 0.5}, {")
SOFT = ONE_LAYER.replace(
    "filters: 3, kernel_size: 1", 'filters: "${classes}", kernel_size: 3, padding: same, activation: softsign'
)
MANY = f"labels.names=[{', '.join(f'c{index}' for index in range(60))}]"


def augment(op: str) -> str:
    return f"data.augment=[{op}]"


def optimiser(name: str, start: str) -> dict[str, Option]:
    """The options that both optimisers have."""
    key = "training.optimizer"
    return {
        f"{name}.learning_rate": option(fit, start, f"{key}.learning_rate=0.5"),
        f"{name}.weight_decay": option(fit, start, f"{key}.weight_decay=0.4"),
        f"{name}.undecayed": option(fit, (start, f"{key}.weight_decay=0.4"), f"{key}.undecayed=[kernel]"),
        f"{name}.multipliers": option(fit, start, f"{key}.multipliers={{bias: 0.5}}"),
    }


def deeplab(name: str, start: str) -> dict[str, Option]:
    """The options that DeepLab v3 and v3+ have."""
    values = (
        "rates=[1]", "channels=5", "pool_size=2", "order=pooling_last", "activation=swish", "dropout=0.5",
        "momentum=0.8", "epsilon=0.001", "align_corners=false",
    )  # fmt: skip
    separable = f"{DECODER}.separable=true"
    return {
        **{f"{name}.{value.partition('=')[0]}": option(network, start, f"{DECODER}.{value}") for value in values},
        f"{name}.separable": option(network, start, f"{DECODER}.separable={str('plus' not in start).lower()}"),
        f"{name}.depthwise_norm": option(network, (start, separable), f"{DECODER}.depthwise_norm=false"),
    }


OPTIONS = {
    "Pipeline.name": option(export, (), "name=other"),
    "Pipeline.seed": option(fit, (), "seed=1"),
    "Pipeline.labels": option(network, (), "labels=camvid"),
    "Pipeline.data": option(trained_on, (), "data={source: {type: shapes, size: 16, train: 2}}"),
    "Pipeline.model": option(network, (), CNN),
    "Pipeline.training": option(fit, (), "training={epochs: 2}"),
    "Pipeline.inference": option(predict, (), "inference={opacity: 0.9}"),
    "Pipeline.export": option(export, (), "export={tolerance: 0.001}"),
    "Pipeline.plugins": option(choices, (), "plugins=[options_plugin]"),
    "Labels.names": option(export, (), "labels.names=[ground, disc, ring]"),
    "Labels.ignore": option(trained_on, "data.crop=40", "labels.ignore=254"),
    "Labels.colours": option(predict, (), "labels.colours=[[9, 9, 9], [8, 8, 8], [7, 7, 7]]"),
    # data
    "Data.source": option(trained_on, (), f"{SOURCE}={{type: shapes, size: 16, train: 6}}"),
    "Data.root": option(trained_on, FOLDER, "data.root=other"),
    "Data.boxes": option(trained_on, (), OBJECTS),
    "ObjectBoxes.type": option(trained_on, PROPOSED, OBJECTS),
    "ObjectBoxes.file": option(trained_on, OBJECTS, "data.boxes.file=boxes.csv"),
    "ObjectBoxes.context": option(trained_on, OBJECTS, "data.boxes.context=1.5"),
    "ObjectBoxes.smallest": option(trained_on, OBJECTS, "data.boxes.smallest=60"),
    "ObjectBoxes.size": option(trained_on, OBJECTS, "data.boxes.size=[24, 20]"),
    "ProposalBoxes.type": option(trained_on, OBJECTS, PROPOSED),
    "ProposalBoxes.file": option(trained_on, (PROPOSED, "data.boxes.overlap=0.01"), "data.boxes.file=boxes.csv"),
    "ProposalBoxes.overlap": option(trained_on, PROPOSED, "data.boxes.overlap=0.8"),
    "ProposalBoxes.smallest": option(trained_on, PROPOSED, "data.boxes.smallest=60"),
    "ProposalBoxes.jitter": option(trained_on, PROPOSED, "data.boxes.jitter=0.1"),
    "ProposalBoxes.per_object": option(trained_on, PROPOSED, "data.boxes.per_object=3"),
    "ProposalBoxes.size": option(trained_on, PROPOSED, "data.boxes.size=[24, 20]"),
    "Data.crop": option(trained_on, (), "data.crop=16"),
    "Data.fill": option(trained_on, "data.crop=40", "data.fill=[123, 117, 104]"),
    "Data.batch_size": option(trained_on, (), "data.batch_size=3"),
    "Data.augment": option(trained_on, (), augment("flip")),
    "Data.train_split": option(trained_on, (), "data.train_split=val"),
    "Data.validation_split": option(fit, (), "data.validation_split=test"),
    "Data.cache": option(kept, FOLDER, "data.cache=true"),
    "Shapes.type": option(trained_on, FOLDER, ("data.root=null", f"{SOURCE}={{type: shapes, size: 32}}")),
    "Shapes.size": option(trained_on, (), f"{SOURCE}.size=16"),
    "Shapes.train": option(trained_on, (), f"{SOURCE}.train=5"),
    "Shapes.val": option(fit, (), f"{SOURCE}.val=5"),
    "Shapes.test": option(held_out, (), f"{SOURCE}.test=5"),
    "Shapes.objects": option(trained_on, (), f"{SOURCE}.objects=2"),
    "Shapes.channels": option(trained_on, (), (f"{SOURCE}.channels=1", "model.channels=1")),
    "Shapes.seed": option(trained_on, (), f"{SOURCE}.seed=1"),
    "Folder.type": option(trained_on, ALL, f"{SOURCE}=folder"),
    "Folder.images": option(trained_on, FOLDER, f"{SOURCE}.images='{{split}}/masks/{{name}}.*'"),
    "Folder.masks": option(trained_on, FOLDER, f"{SOURCE}.masks='{{split}}annot/images/{{name}}.png'"),
    "Folder.lists": option(trained_on, FOLDER, f"{SOURCE}.lists='lists/{{split}}.txt'"),
    "Folder.fractions": option(
        trained_on, FLAT.format("{train: 0.5, val: 0.5}"), f"{SOURCE}.fractions={{train: 0.75, val: 0.25}}"
    ),
    "Folder.mask": option(trained_on, FOLDER, f"{MASK}={{type: ids, mapping: {{0: 0, 1: 2, 2: 1}}}}"),
    "Folder.channels": option(trained_on, FOLDER, (f"{SOURCE}.channels=1", "model.channels=1")),
    "Ids.type": option(trained_on, (*BLACK, f"{MASK}=binary"), f"{MASK}=ids"),
    "Ids.mapping": option(
        trained_on,
        (FOLDER, f"{MASK}={{type: ids, mapping: {{0: 0, 1: 1, 2: 2}}}}"),
        f"{MASK}.mapping={{0: 0, 1: 2, 2: 1}}",
    ),
    "Ids.rest": option(trained_on, (FOLDER, f"{MASK}={{mapping: {{0: 1}}, rest: 0, type: ids}}"), f"{MASK}.rest=255"),
    "Binary.type": option(trained_on, (*BLACK, f"{MASK}=ids"), f"{MASK}=binary"),
    "Colours.type": option(faults, COLOURED, f"{MASK}=colours"),
    "Colours.table": option(faults, (COLOURED, f"{MASK}=colours"), f"{MASK}.table={OTHERS}"),
    "Colours.ignore": option(
        faults, (COLOURED, f"{MASK}={{type: colours, table: {OTHERS}}}"), f"{MASK}.ignore={VOC_COLOURS}"
    ),
    "CamVid.type": option(trained_on, ALL, f"{SOURCE}=camvid"),
    "Voc.type": option(trained_on, FOLDER, f"{SOURCE}=voc"),
    "Voc.year": option(trained_on, "data={root: devkit, source: voc}", f"{SOURCE}.year='2007'"),
    "Voc.masks": option(trained_on, ALL, f"{SOURCE}.masks=SegmentationObject"),
    "Scale.type": option(trained_on, ("data.crop=32", augment("rotate")), augment("scale")),
    "Scale.min": option(trained_on, ("data.crop=32", augment("scale")), "data.augment.0.min=1.0"),
    "Scale.max": option(trained_on, ("data.crop=32", augment("scale")), "data.augment.0.max=1.0"),
    "Scale.factors": option(trained_on, ("data.crop=32", augment("scale")), "data.augment.0.factors=[0.5, 0.75]"),
    "Rotate.type": option(trained_on, augment("flip"), augment("rotate")),
    "Rotate.degrees": option(trained_on, augment("rotate"), "data.augment.0.degrees=90.0"),
    "Flip.type": option(trained_on, augment("colour"), augment("flip")),
    "Flip.axis": option(trained_on, augment("flip"), "data.augment.0.axis=vertical"),
    "Flip.probability": option(trained_on, augment("flip"), "data.augment.0.probability=1.0"),
    "Colour.type": option(trained_on, augment("flip"), augment("colour")),
    **{
        f"Colour.{part}": option(trained_on, augment("colour"), f"data.augment.0.{part}=0.45")
        for part in ("brightness", "contrast", "saturation", "hue")
    },
    # model
    "Segmenter.type": option(network, (), CNN),
    "Segmenter.channels": option(network, CNN, ("model.channels=4", f"{SOURCE}.channels=4")),
    "Segmenter.backbone": option(network, CNN, f"{BACKBONE}={{type: vgg16, width: 0.015625}}"),
    "Segmenter.decoder": option(network, CNN, f"{DECODER}.strides=[16, 4]"),
    "Segmenter.head": option(network, CNN, "model.head={type: resize, align_corners: true}"),
    "Segmenter.scales": option(network, CNN, "model.scales=[1.0, 0.5]"),
    "Segmenter.fusion": option(network, (CNN, "model.scales=[1.0, 0.5]"), "model.fusion=mean"),
    "Segmenter.refine": option(network, (CNN, "export.tflite=null"), "model.refine=crf_rnn"),
    **{
        f"CrfRnn.{change.partition('=')[0]}": option(network, REFINED, f"model.refine.{change}")
        for change in (
            "theta_alpha=50.0", "theta_beta=10.0", "theta_gamma=1.0", "bilateral_weight=4.0", "spatial_weight=2.0",
            "kernel_weights=per_class", "compatibility=potts", "iterations=3", "inference_iterations=5",
            "normalization=symmetric", "kernel=convolutional",
        )
    },
    "CrfRnn.window": option(network, WINDOWED, "model.refine.window=7"),
    "Interp.type": Option(network, (RELEASED, "model.head=interp"), None),
    "Zoom.type": Option(network, (DILATION, "model.head=zoom"), None),
    "DeepLabV1.type": option(network, ASPP, f"{DECODER}=deeplab_v1"),
    "DeepLabV1.multi_scale": option(network, RELEASED, f"{DECODER}.multi_scale=true"),
    "DeepLabV1.fusion": option(network, MSC, f"{DECODER}.fusion=concatenation"),
    "DeepLabV1.channels": option(network, MSC, f"{DECODER}.channels=4"),
    "DeepLabV1.dropout": option(network, MSC, f"{DECODER}.dropout=0.1"),
    "DeepLabV2.type": option(network, RELEASED, f"{DECODER}=deeplab_v2"),
    "DeepLabV2.rates": option(network, ASPP, f"{DECODER}.rates=[6, 12]"),
    "DeepLabV2.hidden": option(network, ASPP, f"{DECODER}.hidden=8"),
    "DeepLabV2.dropout": option(network, (ASPP, f"{DECODER}.hidden=8"), f"{DECODER}.dropout=0.1"),
    "Dilation.type": option(network, RELEASED, f"{DECODER}=dilation"),
    "Dilation.context": option(network, CONTEXT, f"{DECODER}.context=large"),
    "Dilation.dilations": option(network, CONTEXT, f"{DECODER}.dilations=[1, 2, 1]"),
    "Dilation.padding": option(network, CONTEXT, f"{DECODER}.padding=same"),
    "Dilation.upsampling": option(network, DILATION, f"{DECODER}.upsampling=deconv"),
    "Crop.type": Option(network, (VGG, DECONV, "model.head=crop"), None),
    "Resize.type": Option(network, (VGG, "model.head=resize"), None),
    "Resize.align_corners": option(network, (CNN, "model.head=resize"), "model.head.align_corners=true"),
    **{
        f"{kind}.{field}": option(shows, (start, *base), f"{BACKBONE}.{change}")
        for kind, start in (("AlexNet", ALEX), ("GoogLeNet", GOOGLE))
        for field, shows, base, change in (
            ("form", network, (DECONV,), "form=original"),
            ("width", network, (), "width=0.05"),
            ("output_stride", network, (f"{DECODER}.strides=[8]",), "output_stride=8"),
            ("dropout", network, (), "dropout=0.1"),
            ("weights", filled, (), f"weights={kind.lower()}.npz"),
        )
    },
    "Applications.type": option(network, CNN, (APPLICATION, f"{DECODER}.strides=[16, 8]")),
    "Applications.name": option(network, APPLICATION, f"{BACKBONE}.name=VGG16"),
    "Applications.output_stride": option(
        network, (APPLICATION, f"{DECODER}.strides=[16]"), f"{BACKBONE}.output_stride=16"
    ),
    "Applications.momentum": option(network, APPLICATION, f"{BACKBONE}.momentum=0.8"),
    "Applications.weights": option(filled, APPLICATION, f"{BACKBONE}.weights=application.npz"),
    "AlexNet.type": option(network, CNN, f"{BACKBONE}={{type: alexnet, width: 0.02}}"),
    "GoogLeNet.type": option(network, CNN, f"{BACKBONE}={{type: googlenet, width: 0.02}}"),
    "GoogLeNet.average_pool": option(network, GOOGLE, f"{BACKBONE}.average_pool=true"),
    "MobileNetV2.type": option(network, CNN, f"{BACKBONE}={{type: mobilenet_v2, alpha: 0.1}}"),
    "MobileNetV2.alpha": option(network, MOBILE, f"{BACKBONE}.alpha=0.5"),
    "MobileNetV2.divisor": option(network, MOBILE, f"{BACKBONE}.divisor=1"),
    "MobileNetV2.dilation": option(network, (MOBILE, f"{BACKBONE}.output_stride=16"), f"{BACKBONE}.dilation=early"),
    "MobileNetV2.normalize": option(network, MOBILE, f"{BACKBONE}.normalize=torch"),
    "MobileNetV2.output_stride": option(network, MOBILE, f"{BACKBONE}.output_stride=16"),
    "MobileNetV2.momentum": option(network, MOBILE, f"{BACKBONE}.momentum=0.8"),
    "MobileNetV2.weights": option(filled, WHOLE_MOBILE, f"{BACKBONE}.weights=mobile.npz"),
    "Resnet.type": option(network, CNN, f"{BACKBONE}={{type: resnet, depth: 50, width: 0.02}}"),
    "Resnet.depth": option(network, RESNET, f"{BACKBONE}.depth=101"),
    "Resnet.width": option(network, RESNET, f"{BACKBONE}.width=0.05"),
    "Resnet.output_stride": option(network, (RESNET, f"{DECODER}.strides=[16]"), f"{BACKBONE}.output_stride=16"),
    "Resnet.multi_grid": option(network, RESNET, f"{BACKBONE}.multi_grid=[1, 2, 4]"),
    "Resnet.dilation": option(
        network,
        (RESNET, f"{DECODER}.strides=[16]", f"{BACKBONE}.stride_on=3x3", f"{BACKBONE}.output_stride=16"),
        f"{BACKBONE}.dilation=every_unit",
    ),
    "Resnet.stem": option(network, RESNET, f"{BACKBONE}.stem=3x3"),
    "Resnet.stride_on": option(network, RESNET, f"{BACKBONE}.stride_on=3x3"),
    "Resnet.padding": option(network, RESNET, f"{BACKBONE}.padding=same"),
    "Resnet.activation": option(network, RESNET, f"{BACKBONE}.activation=swish"),
    "Resnet.normalize": option(network, RESNET, f"{BACKBONE}.normalize=torch"),
    "Resnet.momentum": option(network, RESNET, f"{BACKBONE}.momentum=0.8"),
    "Resnet.epsilon": option(network, RESNET, f"{BACKBONE}.epsilon=0.001"),
    "Resnet.weights": option(filled, RESNET, f"{BACKBONE}.weights=resnet.npz"),
    "SmallCnn.type": option(network, VGG, (f"{DECODER}.strides=[16]", f"{BACKBONE}=small_cnn")),
    "SmallCnn.width": option(network, CNN, f"{BACKBONE}.width=3"),
    "SmallCnn.output_stride": option(network, CNN, f"{BACKBONE}.output_stride=32"),
    "SmallCnn.momentum": option(network, CNN, f"{BACKBONE}.momentum=0.8"),
    "SmallCnn.weights": option(filled, CNN, f"{BACKBONE}.weights=cnn.npz"),
    "Vgg16.type": option(network, CNN, f"{BACKBONE}={{type: vgg16, width: 0.015625}}"),
    "Vgg16.form": option(network, (VGG, DECONV), f"{BACKBONE}.form=original"),
    "Vgg16.width": option(network, VGG, f"{BACKBONE}.width=0.03125"),
    "Vgg16.output_stride": option(network, (VGG, f"{DECODER}.strides=[8]"), f"{BACKBONE}.output_stride=8"),
    "Vgg16.pool5a": option(
        network,
        (VGG, f"{DECODER}.strides=[8]", f"{BACKBONE}.form=deeplab", f"{BACKBONE}.output_stride=8"),
        f"{BACKBONE}.pool5a=true",
    ),
    "Vgg16.fc": option(network, VGG, f"{BACKBONE}.fc={{kernel: 3}}"),
    "Vgg16.dropout": option(network, VGG, f"{BACKBONE}.dropout=0.1"),
    "Vgg16.batch_norm": option(network, VGG, f"{BACKBONE}.batch_norm=true"),
    "Vgg16.momentum": option(network, (VGG, f"{BACKBONE}.batch_norm=true"), f"{BACKBONE}.momentum=0.8"),
    "Vgg16.epsilon": option(network, (VGG, f"{BACKBONE}.batch_norm=true"), f"{BACKBONE}.epsilon=1e-9"),
    "Vgg16.shift": option(network, (VGG, f"{BACKBONE}.batch_norm=true"), f"{BACKBONE}.shift=0.001"),
    "Vgg16.mc_dropout": option(network, VGG, f"{BACKBONE}.mc_dropout=central"),
    "Vgg16.indices": option(network, VGG, f"{BACKBONE}.indices=true"),
    "FullyConnected.kernel": option(network, VGG, f"{BACKBONE}.fc={{kernel: 3}}"),
    "FullyConnected.rate": option(network, VGG, f"{BACKBONE}.fc={{rate: 2}}"),
    "FullyConnected.filters": option(network, VGG, f"{BACKBONE}.fc={{filters: 1024}}"),
    "Vgg16.weights": option(filled, VGG, f"{BACKBONE}.weights=vgg.npz"),
    "Fcn.type": option(network, PSPNET, f"{DECODER}={{type: fcn, strides: [16]}}"),
    "Fcn.strides": option(network, VGG, f"{DECODER}.strides=[32]"),
    "Fcn.upsampling": option(network, VGG, f"{DECODER}.upsampling=deconv"),
    "Fcn.learned_upsampling": option(network, (VGG, DECONV), f"{DECODER}.learned_upsampling=true"),
    "Fcn.scales": option(network, VGG, f"{DECODER}.scales=[0.01, 0.0001]"),
    "Fcn.channels": option(network, CNN, f"{DECODER}.channels=4"),
    "ContractingPath.type": option(network, CNN, UNET),
    "ContractingPath.width": option(network, UNET, f"{BACKBONE}.width=3"),
    "ContractingPath.batch_norm": option(network, UNET, f"{BACKBONE}.batch_norm=true"),
    "ContractingPath.momentum": option(network, (UNET, f"{BACKBONE}.batch_norm=true"), f"{BACKBONE}.momentum=0.8"),
    "ContractingPath.dropout": option(network, UNET, f"{BACKBONE}.dropout=0.1"),
    "ContractingPath.weights": option(filled, UNET, f"{BACKBONE}.weights=unet.npz"),
    "Unet.type": option(network, CNN, f"{DECODER}=unet"),
    "Unet.strides": option(network, UNET, f"{DECODER}.strides=[16, 8]"),
    "Unet.channels": option(network, UNET, f"{DECODER}.channels=[4, 3, 2, 1]"),
    "Unet.batch_norm": option(network, UNET, f"{DECODER}.batch_norm=true"),
    "PspNet.type": option(network, CNN, f"{DECODER}=pspnet"),
    "PspNet.filters": option(network, PSPNET, f"{DECODER}.filters=6"),
    "PspNet.bins": option(network, PSPNET, f"{DECODER}.bins=[1, 2]"),
    "PspNet.dropout": option(network, PSPNET, f"{DECODER}.dropout=0.5"),
    "PspNet.auxiliary": option(trained, PSPNET, f"{DECODER}.auxiliary=false"),
    "DeconvNet.type": option(network, CNN, DECONVNET),
    "DeconvNet.filters": option(network, DECONVNET, f"{DECODER}.filters=5"),
    "SegNet.type": option(network, DECONVNET, f"{DECODER}=segnet"),
    "SegNet.convolutions": option(network, SEGNET, f"{DECODER}.convolutions=[1, 1, 1, 1, 1]"),
    "SegNet.mc_dropout": option(network, SEGNET, f"{DECODER}.mc_dropout=all"),
    "DeepLabV3.type": option(network, CNN, DEEPLAB),
    **deeplab("DeepLabV3", DEEPLAB),
    "DeepLabV3Plus.type": option(network, DEEPLAB, f"{DECODER}.type=deeplab_v3_plus"),
    **deeplab("DeepLabV3Plus", DEEPLAB.replace("v3", "v3_plus")),
    "DeepLabV3Plus.low_level": option(network, DEEPLAB.replace("v3", "v3_plus"), f"{DECODER}.low_level=8"),
    "DeepLabV3Plus.low_level_channels": option(
        network, DEEPLAB.replace("v3", "v3_plus"), f"{DECODER}.low_level_channels=6"
    ),
    "DeepLabV3Plus.refinements": option(network, DEEPLAB.replace("v3", "v3_plus"), f"{DECODER}.refinements=1"),
    "Graph.type": option(network, CNN, ONE_LAYER),
    "Graph.channels": option(network, (), ("model.channels=4", f"{SOURCE}.channels=4")),
    "Graph.layers": option(network, (), "model.layers.0.filters=5"),
    # training
    "Training.epochs": option(fit, (), "training.epochs=4"),
    "Training.steps": option(fit, (), "training.steps=4"),
    "Training.validate_every": option(fit, (), "training.validate_every=2"),
    "Training.optimizer": option(fit, (), SGD),
    "Training.schedule": option(fit, (), "training.schedule=constant"),
    "Training.loss": option(fit, (), "training.loss={type: cross_entropy, reduction: sum}"),
    "Training.auxiliary_weight": option(fit, PSPNET, "training.auxiliary_weight=0.4"),
    "Training.accumulate": option(fit, (), "training.accumulate=2"),
    "Training.precision": option(fit, (), "training.precision=mixed_bfloat16"),
    "Training.strategy": option(fit, (), "training.strategy=mirrored"),
    "Training.jit_compile": option(fit, (), "training.jit_compile=true"),
    "Training.batch_norm": option(fit, (), "training.batch_norm=frozen"),
    "Training.batch_norm_batches": option(measured, (), "training.batch_norm_batches=2"),
    "Training.freeze": option(fit, (), "training.freeze=[conv]"),
    "Sgd.type": option(fit, (), SGD),
    "Sgd.momentum": option(fit, SGD, "training.optimizer.momentum=0.5"),
    **optimiser("Sgd", SGD),
    "AdamW.type": option(fit, SGD, "training.optimizer=adamw"),
    **optimiser("AdamW", "training.optimizer=adamw"),
    "Constant.type": option(fit, (), "training.schedule=constant"),
    "Constant.warmup": option(fit, "training.schedule=constant", "training.schedule.warmup=4"),
    "Poly.type": option(fit, "training.schedule=constant", "training.schedule=poly"),
    "Poly.power": option(fit, (), "training.schedule={type: poly, power: 2.0}"),
    "Poly.warmup": option(fit, (), "training.schedule={type: poly, warmup: 4}"),
    "Step.type": option(fit, (), "training.schedule={type: step, every: 0.5}"),
    "Step.every": option(fit, STEP, "training.schedule.every=0.5"),
    "Step.unit": option(fit, STEP, "training.schedule.unit=steps"),
    "Step.factor": option(fit, ("training.schedule={type: step, every: 0.5}",), "training.schedule.factor=0.5"),
    "Step.warmup": option(fit, STEP, "training.schedule.warmup=4"),
    "CrossEntropy.type": option(fit, HARDEST, "training.loss=cross_entropy"),
    "CrossEntropy.resolution": option(fit, CNN, "training.loss={type: cross_entropy, resolution: scores}"),
    "TopKCrossEntropy.type": option(fit, (), HARDEST),
    "TopKCrossEntropy.pixels": option(fit, HARDEST, "training.loss.pixels=4"),
    "TopKCrossEntropy.resolution": option(fit, (CNN, HARDEST), "training.loss.resolution=scores"),
    "CrossEntropy.class_weights": option(
        fit, (), "training.loss={type: cross_entropy, class_weights: median_frequency}"
    ),
    "CrossEntropy.reduction": option(fit, (), "training.loss={type: cross_entropy, reduction: sum}"),
    # use
    "Inference.size": option(predict, (), "inference.size=16"),
    "Inference.samples": option(predict, SAMPLED, "inference.samples=3"),
    "Inference.uncertainty": option(predict, (SAMPLED, "inference.samples=3"), "inference.uncertainty=true"),
    "Inference.proposals": option(predict, (), BOXED),
    "Inference.ensemble": option(predict, (), TOGETHER),
    "Proposals.boxes": option(predict, BOXED, "inference.proposals.boxes=seen.csv"),
    "Proposals.scales": option(predict, BOXED, "inference.proposals.scales=[0.5]"),
    "Proposals.count": option(predict, BOXED, "inference.proposals.count=2"),
    "Proposals.min_side": option(predict, BOXED, "inference.proposals.min_side=20"),
    "Proposals.size": option(predict, BOXED, "inference.proposals.size=12"),
    "Proposals.merge": option(predict, BOXED, "inference.proposals.merge=mean"),
    "Ensemble.network": option(predict, TOGETHER, "inference.ensemble.network=two.keras"),
    "Ensemble.rule": option(predict, TOGETHER, "inference.ensemble.rule=score_product"),
    "Inference.crf": option(predict, (), CRF),
    "Crf.parameters": option(predict, CRF, "inference.crf.parameters=pydensecrf"),
    "Crf.bilateral_weight": option(predict, CRF, "inference.crf.bilateral_weight=0.1"),
    "Crf.theta_alpha": option(predict, CRF, "inference.crf.theta_alpha=1"),
    "Crf.theta_beta": option(predict, CRF, "inference.crf.theta_beta=100"),
    "Crf.spatial_weight": option(predict, CRF, "inference.crf.spatial_weight=0.1"),
    "Crf.theta_gamma": option(predict, CRF, "inference.crf.theta_gamma=0.5"),
    "Crf.normalization": option(predict, CRF, "inference.crf.normalization=none"),
    "Crf.iterations": option(predict, CRF, "inference.crf.iterations=1"),
    "Crf.prune": option(predict, (CRF, SOFT, MANY), "inference.crf.prune=0.9"),
    "Inference.opacity": option(predict, (), "inference.opacity=0.9"),
    "Export.tflite": option(export, (), "export.tflite=null"),
    "Export.examples": option(export, (), "export.examples=3"),
    "Export.tolerance": option(export, (), "export.tolerance=0.001"),
    "Tflite.size": option(export, (), "export.tflite.size=[24, 40]"),
}  # fmt: skip


# The fields.


def specs(root: type) -> dict[str, type]:
    """All specs in `root`, through slots, tuples and optional fields, by the names of their classes."""
    found, pending = {root.__name__: root}, [root]
    while pending:
        for hint in get_type_hints(pending.pop(), include_extras=True).values():
            for inner in _specs(hint):
                assert found.get(inner.__name__, inner) is inner, f"two specs are called {inner.__name__}"
                if inner.__name__ not in found:
                    found[inner.__name__] = inner
                    pending.append(inner)
    return found


def fields(root: type) -> set[str]:
    """The fields of all specs in `root`; without the `type` of a spec that is alone in its slot: there is no other."""
    found = specs(root)
    hints = [hint for each in found.values() for hint in get_type_hints(each, include_extras=True).values()]
    alone = {members(slot)[0] for hint in hints for slot in _unions(hint) if len(members(slot)) == 1}
    return {
        f"{name}.{field}"
        for name, each in found.items()
        for field in each.__pydantic_fields__  # type: ignore[attr-defined]
        if not (field == "type" and each in alone)
    }


def test_every_field_has_an_entry_and_every_entry_a_field() -> None:
    assert _is_spec(Pipeline)
    assert set(OPTIONS) == fields(Pipeline)


# Files for the sources.


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of 32x32 in the layouts of all sources, starting weights, and a plugin."""
    root = tmp_path_factory.mktemp("options")
    rng = np.random.default_rng(0)

    def image(path: str) -> None:
        _save(root / path, rng.integers(0, 256, (32, 32, 3)))

    def mask(path: str) -> np.ndarray:
        ids = rng.integers(0, 3, (32, 32))
        _save(root / path, ids)
        return ids

    for split, stem in itertools.product(("train", "val"), ("0", "1", "2")):
        for folder in ("all", "other", "coloured", "black"):
            image(f"{folder}/{split}/images/{stem}.png")
            ids = mask(f"{folder}/{split}/masks/{stem}.png")
            if folder == "coloured":
                _save(root / folder / split / "masks" / f"{stem}.png", voc_palette()[ids])
            if folder == "black":
                _save(root / folder / split / "masks" / f"{stem}.png", np.where(ids, 255, 0))
        for kind in ("images", "masks"):  # CamVid takes everything below a split for images
            mask(f"all/{split}annot/{kind}/{stem}.png")
        for home in ("all", "devkit/VOC2012", "devkit/VOC2007"):
            image(f"{home}/JPEGImages/{split}{stem}.jpg")
            mask(f"{home}/SegmentationClass/{split}{stem}.png")
            mask(f"{home}/SegmentationObject/{split}{stem}.png")
            _append(root / home / f"{split}.txt", f"{split}{stem}\n")
        image(f"flat/images/{split}{stem}.png")
        mask(f"flat/masks/{split}{stem}.png")
        _append(root / "all" / "lists" / f"{split}.txt", f"{stem}\n" if stem != "1" else "")
    (root / "options_plugin.py").write_text(PLUGIN)
    (root / "tiny.yaml").write_text(TINY)
    boxes = [f"train_{number:06d},4,4,28,28,1" for number in range(6)]
    (root / "boxes.csv").write_text("\n".join(["image,left,top,right,bottom,class", *boxes]))
    (root / "seen.csv").write_text("image,left,top,right,bottom\n0,0,0,16,32\n")
    for number, name in enumerate(("one", "two")):
        keras.utils.set_random_seed(number)
        load(root / "tiny.yaml").build().save(root / f"{name}.keras")
    for name, start in (
        ("mobile", WHOLE_MOBILE),
        ("cnn", CNN),
        ("vgg", VGG),
        ("resnet", RESNET),
        ("alexnet", ALEX),
        ("googlenet", GOOGLE),
        ("application", APPLICATION),
        ("unet", UNET),
    ):
        model = load(root / "tiny.yaml", (start,)).build()
        weights = {f"{layer.name}/{weight.name}": weight for layer in model.layers for weight in layer.weights}
        np.savez(root / f"{name}.npz", **{key: np.full(weight.shape, 0.5) for key, weight in weights.items()})
    return root


def _save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


def _append(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(text)


@pytest.fixture
def shown(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """What an option shows under some overrides."""
    monkeypatch.chdir(files)
    monkeypatch.syspath_prepend(files)
    numbers = itertools.count()

    def shown(shows: Callable[..., Any], overrides: Overrides) -> Any:
        pipeline = load("tiny.yaml", overrides, allow_plugins=True)
        keras.utils.clear_session(free_memory=False)
        return (
            shows(pipeline, tmp_path / str(next(numbers)))
            if shows in (fit, measured, predict, export)
            else shows(pipeline)
        )

    yield shown


_BASES: dict[tuple[Callable[..., Any], Overrides], Any] = {}
"""What was seen of a base; the base is common to many options."""


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_matters(name: str, shown: Callable[..., Any]) -> None:
    shows, base, changed = OPTIONS[name]
    if (shows, base) not in _BASES:
        _BASES[shows, base] = shown(shows, base)
        assert shown(shows, base) == _BASES[shows, base], "what is looked at must not change by itself"
    if changed is None:
        other = "resize" if base[-1].endswith("=crop") else "crop"
        with pytest.raises(tfseg.SpecError, match=r"these scores come to the image's size by"):
            shown(shows, (*base, f"model.head={other}"))
    else:
        assert shown(shows, (*base, *changed)) != _BASES[shows, base]


# The layers of a graph, whose fields are the arguments of a constructor.

CANDIDATES: tuple[Any, ...] = (
    *(True, False, None, 2, 3, 4, 1, 0, 0.25, 0.5, (2, 1), ((1, 2), (0, 1)), -1, (1, 2), 8),
    *("same", "valid", "relu", "tanh", "ones", "zeros", "l2", "l1", "non_neg", "unit_norm", "nearest", "bilinear"),
    *("caffe", "tf", "torch", "rgb", "bgr", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
    *("basic", "large", "once", "builtin", "native", "pooling_first", "pooling_last"),
    *(7, "scalar", "per_class", "potts", "after", "symmetric", "permutohedral", "convolutional"),
)
"""Values of which each argument of a layer takes two."""
REQUIRED = {
    "classes": 2,
    "filters": 4,
    "kernel_size": 2,
    "pool_size": 2,
    "offset": 1,
    "padding": 1,
    "factor": 0.5,
    "multiple": 16,
    "rate": 0.1,
    "rates": (1, 2),
    "scale": 0.5,
    "stddev": 0.1,
}
"""Values for arguments without default."""


def made(kind: type[Node], arguments: dict[str, Any]) -> str | None:
    """The layer in words, or None where the arguments are refused."""
    needed = {key: REQUIRED.get(key, "relu") for key in kind.__pydantic_fields__ if key in kind.DEFAULTS}  # type: ignore[attr-defined]
    needed = {key: value for key, value in needed.items() if kind.__pydantic_fields__[key].is_required()}  # type: ignore[attr-defined]
    word = get_args(get_type_hints(kind)["layer"])[0]
    try:
        return str(kind(**{"name": "a", "layer": word, **needed, **arguments}).make(2).get_config())
    except ValueError:
        return None


@pytest.mark.parametrize("word", NODES)
def test_every_argument_of_a_layer_matters(word: str) -> None:
    kind = NODES[word]
    assert get_origin(get_type_hints(kind)["layer"]) is Literal
    assert set(kind.__pydantic_fields__) == {"layer", "name", "inputs", *kind.DEFAULTS}  # type: ignore[attr-defined]
    for argument in set(kind.DEFAULTS) - {"trainable"}:  # Keras's own, which means nothing without weights
        found = {made(kind, {argument: value}) for value in CANDIDATES} - {None}
        assert len(found) > 1, f"{word}: `{argument}` changes nothing"


def test_name_layer_and_inputs_of_a_layer_matter() -> None:
    conv = NODES["conv"](name="a", layer="conv", filters=2, kernel_size=1)  # type: ignore[call-arg]
    assert conv.sources("above") == ("above",)
    assert NODES["conv"](name="a", layer="conv", filters=2, kernel_size=1, inputs=IMAGE).sources("above") == (IMAGE,)  # type: ignore[call-arg]
    assert NODES["conv"](name="b", layer="conv", filters=2, kernel_size=1).make(2).name == "b"  # type: ignore[call-arg]
    assert len({kind.LAYER for kind in NODES.values()}) == len(NODES)

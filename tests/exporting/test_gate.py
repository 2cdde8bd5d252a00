"""The gate can fail: every way in which an artifact may be wrong is met by an error with its figures, and no file."""

import io
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tfseg.atomic import atomic_directory, sweep_directories
from tfseg.errors import ExportError
from tfseg.exporting import Export, Tflite, export
from tfseg.exporting.saved_model import write_saved_model
from tfseg.exporting.tflite import operations, write_tflite
from tfseg.exporting.verify import Comparison, ask, compare, expectations, questions
from tfseg.spec.problems import SpecError

from .toys import ArgmaxPooling, Fickle, constant, image, labels, network

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("one_isolated_worker")  # but for `ask` itself, which is the gate's own here


def left(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_a_saved_model_that_says_something_else_is_not_left_in_place(tmp_path):
    model = network(after=[Fickle(1e3)])
    with pytest.raises(ExportError) as error:
        export(model, labels(), tmp_path, "toy", spec=Export(tflite=None), images=[image()])
    figures = re.fullmatch(
        re.escape(
            f"{tmp_path}/toy/1: the SavedModel does not compute what the model computes, and was not left in place. "
            "Masks agree on AGREE% of 12,480 pixels; WRONG pixels have another class though the model's two best are "
            "more than 0.002 apart there (expected 0); the largest difference of a probability is LARGEST (expected "
            "at most 0.001). A layer that behaves otherwise in a graph than in Keras does this. Change that layer; "
            "raise export.tolerance only for a difference that you can explain."
        )
        .replace("AGREE", r"([\d.]+)")
        .replace("WRONG", r"([\d,]+)")
        .replace("LARGEST", r"([\d.]+)"),
        str(error.value),
    )
    assert figures, str(error.value)
    with Image.open(io.BytesIO(questions([image()], 3, None)["encoded/2"].tobytes())) as photograph:
        turned = np.rot90(np.asarray(photograph), 3)
    batches = [image()[None], np.stack([image(), image()[::-1, ::-1]]), image()[None], image()[None], turned[None]]
    expected = [tf.nn.softmax(model(batch.astype(np.float32))).numpy() for batch in batches]
    zero = sum(int((batch.argmax(-1) == 0).sum()) for batch in expected)  # the artifact says class 0 everywhere
    assert float(figures[1]) == pytest.approx(100 * zero / 12480, abs=1e-4)
    second, first = np.concatenate([np.sort(batch).reshape(-1, 3) for batch in expected]).T[-2:]
    best = np.concatenate([batch.argmax(-1).ravel() for batch in expected])
    assert int(figures[2].replace(",", "")) == ((best != 0) & (first - second > 2e-3)).sum() > 9000
    assert float(figures[3]) == pytest.approx(max(1 - batch[..., 0].min() for batch in expected), abs=0.01)
    assert left(tmp_path) == {}


def test_a_tflite_file_alone_is_caught_too_and_takes_the_saved_model_with_it(tmp_path):
    model = network(after=[Fickle(1e3, static_only=True)])
    with pytest.raises(ExportError) as error:
        export(model, labels(), tmp_path, "toy", spec=Export(), images=[image()])
    assert str(error.value).startswith(f"{tmp_path}/toy/1: the TFLite file does not compute what the model computes,")
    assert left(tmp_path) == {}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    return export(constant([0.0, 1.0]), labels(2), folder, "toy", spec=Export(tflite=None), images=[image()]).folder


@pytest.fixture
def earlier(exported, tmp_path):
    """A folder of exports that holds version 1 of `toy`."""
    shutil.copytree(exported, tmp_path / "toy" / "1")
    return tmp_path


def test_an_earlier_version_survives_a_failed_gate(earlier):
    before = left(earlier)
    with pytest.raises(ExportError, match="toy/2: the SavedModel does not compute"):
        export(network(after=[Fickle(9.0)]), labels(), earlier, "toy", spec=Export(tflite=None), images=[image()])
    assert left(earlier) == before


def test_a_small_difference_passes_only_a_wider_tolerance(tmp_path):
    spec = Export(tflite=None, tolerance=0.02)
    report = export(network(after=[Fickle(0.05)]), labels(), tmp_path, "toy", spec=spec, images=[image()])
    assert Export().tolerance < report.comparisons[0].largest_difference < 0.02
    assert not report.comparisons[0].passes(Export().tolerance)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Artifacts of one network, and what they and another network say to the same questions."""
    folder = tmp_path_factory.mktemp("two")
    mine, other = constant([0.0, 1.0, 0.0]), constant([1.0, 0.0, 0.0])
    write_saved_model(mine, folder / "saved")
    write_tflite(mine, folder / "mine.tflite", (8, 8))
    asked = questions([image()], 3, (8, 8))
    answers = ask(folder / "saved", folder / "mine.tflite", asked)
    return folder, asked, answers, expectations(mine, asked), expectations(other, asked)


@pytest.mark.parametrize(
    ("artifact", "prefixes", "pixels"),
    [("SavedModel", ("saved/", "encoded/"), 12480), ("TFLite file", ("tflite/",), 64)],
)
def test_figures_of_right_and_of_exchanged_artifacts(two, artifact, prefixes, pixels):
    _, _, answers, mine, other = two
    right = compare(artifact, prefixes, mine, answers, 1e-4)
    assert (right.mask_agreement, right.wrong, right.passes(1e-4)) == (1.0, 0, True)
    wrong = compare(artifact, prefixes, other, answers, 1e-4)
    apart = (np.e - 1) / (np.e + 2)
    assert (wrong.pixels, wrong.mask_agreement, wrong.wrong, wrong.passes(0.99)) == (pixels, 0.0, pixels, False)
    assert wrong.largest_difference == pytest.approx(apart, abs=1e-6)
    assert str(wrong) == (
        f"{artifact}: masks agree on 0.0000% of {pixels:,} pixels, probabilities differ by at most 3.6e-01 "
        f"({wrong.images} images)"
    )


@pytest.mark.parametrize("name", ["saved/0/mask", "saved/1/mask", "encoded/0/mask", "encoded/1/mask"])
def test_one_wrong_pixel_of_any_mask_is_enough(two, name):
    _, _, answers, mine, _ = two
    tampered = {**answers, name: answers[name].copy()}
    tampered[name][0, 3, 4] = 2
    found = compare("SavedModel", ("saved/", "encoded/"), mine, tampered, 1e-4)
    assert (found.wrong, found.passes(1e-4)) == (1, False)


@pytest.mark.parametrize("name", ["saved/1/confidence", "saved/0/probabilities", "tflite/0/probabilities"])
@pytest.mark.parametrize("value", [0.2, np.nan, np.inf])
def test_one_wrong_number_is_enough(two, name, value):
    _, _, answers, mine, _ = two
    tampered = {**answers, name: answers[name].copy()}
    tampered[name][0, 3, 4] = value
    found = compare("any", ("saved/", "encoded/", "tflite/"), mine, tampered, 1e-4)
    assert not found.passes(1e-4)


def test_another_shape_is_an_error_of_its_own(two):
    _, _, answers, mine, _ = two
    tampered = {**answers, "saved/0/mask": answers["saved/0/mask"][:, 1:]}
    with pytest.raises(ExportError) as error:
        compare("SavedModel", ("saved/",), mine, tampered, 1e-4)
    assert str(error.value) == (
        "the SavedModel gives `mask` of another shape than the model: received (1, 39, 52), expected (1, 40, 52). "
        "A layer of the network has probably fixed the size of image or batch."
    )


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 0.1), st.integers(2, 9))
def test_no_difference_within_the_tolerance_makes_a_pixel_wrong(seed, tolerance, classes):
    """The reason for the margin: answers that stay within the tolerance always pass, ties included."""
    random = np.random.default_rng(seed)
    expected = random.dirichlet(np.full(classes, 0.3), (1, 6, 6)).astype(np.float32).round(random.integers(1, 6))
    found = expected + random.uniform(-1, 1, expected.shape).astype(np.float32) * np.float32(tolerance * 0.999)
    assert (
        compare(
            "any",
            ("saved/",),
            {"saved/0/mask": expected.argmax(-1), "saved/0/probabilities": expected},
            {"saved/0/probabilities": found},
            tolerance,
        ).wrong
        == 0
    )


def test_rounding_passes_and_the_usual_faults_do_not():
    """The default tolerance is far from both: ten times from the resize of another convention, and from dropout."""
    tolerance, asked = Export().tolerance, questions([image(0, 65, 97)], 3, None)
    mine = expectations(network(), asked)
    rounded = {key: value.astype(np.float16).astype(np.float32) for key, value in mine.items()}
    assert compare("any", ("saved/",), mine, rounded, tolerance).passes(tolerance)
    shifted = expectations(network(align_corners=True), asked)
    assert compare("any", ("saved/",), mine, shifted, tolerance).largest_difference > 10 * tolerance
    training = {}
    for key, batch in asked.items():
        if key.startswith("saved/"):
            training[f"{key}/probabilities"] = tf.nn.softmax(network()(batch.astype(np.float32), training=True)).numpy()
    assert compare("any", ("saved/",), mine, training, tolerance).largest_difference > 10 * tolerance


def test_artifacts_that_do_not_load_are_an_error(two):
    folder, asked, *_ = two
    with pytest.raises(ExportError) as error:
        ask(folder / "nowhere", None, asked)
    text = str(error.value)
    assert text.startswith(
        "the export cannot be used without tfseg: a process of its own failed to load and run it (exit code 1): "
        "OSError: SavedModel file does not exist at: "
    )


def test_operations_without_a_builtin_are_named_with_their_layer(tmp_path, capfd):
    model = network(before=[ArgmaxPooling(name="pool1"), ArgmaxPooling(name="pool1_1")])
    with pytest.raises(ExportError) as error:
        export(model, labels(), tmp_path, "toy", spec=Export(), images=[image()])
    assert str(error.value) == (
        "no TFLite file can be written: it may hold builtin operations only, and the model needs MaxPoolWithArgmax "
        "(layers pool1, pool1_1). Build the network without these, or set export.tflite=null to export the SavedModel "
        "alone."
    )
    assert left(tmp_path) == {}
    assert capfd.readouterr() == ("", "")
    assert export(model, labels(), tmp_path, "toy", spec=Export(tflite=None), images=[image()]).tflite is None


def test_the_list_of_operations_is_read_from_the_file(two, tmp_path):
    """A file with an operation that is no builtin does not slip through, whoever wrote it."""
    folder, *_ = two
    assert operations((folder / "mine.tflite").read_bytes()) == ("CONV_2D", "SOFTMAX")
    write_saved_model(network(before=[ArgmaxPooling(name="pool1")]), tmp_path / "saved")
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"), signature_keys=["probabilities"])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    assert "FlexMaxPoolWithArgmax" in operations(converter.convert())


def test_a_model_that_gives_no_numbers_is_refused(tmp_path):
    with pytest.raises(ExportError) as error:
        export(constant([np.nan, 0.0]), labels(2), tmp_path, "toy", spec=Export(), images=[image()])
    assert str(error.value) == (
        "the model itself gives probabilities that are not finite, so that nothing can be compared with them. Export a "
        "checkpoint from before the training went wrong."
    )
    assert left(tmp_path) == {}


def test_labels_of_another_count_are_refused(tmp_path):
    with pytest.raises(ExportError) as error:
        export(constant([0.0, 1.0]), labels(3), tmp_path, "toy", spec=Export(), images=[image()])
    assert str(error.value) == (
        "the model tells 2 classes apart, and the labels name 3: class0, class1, class2. Export it with the labels "
        "that it was trained with."
    )
    assert left(tmp_path) == {}


@pytest.mark.parametrize(
    ("images", "received"),
    [
        ([], "[]"),
        ([image(channels=1)], "['uint8 (40, 52, 1)']"),
        ([image().astype(np.float32)], "['float32 (40, 52, 3)']"),
        ([image()[None]], "['uint8 (1, 40, 52, 3)']"),
    ],
)
def test_wrong_images_are_refused(tmp_path, images, received):
    text = f"Expected `images` to be one or more uint8 arrays [height, width, 3]. Received: images={received}"
    with pytest.raises(ValueError, match=re.escape(text)):
        export(constant([0.0, 1.0]), labels(2), tmp_path, "toy", spec=Export(), images=images)


def test_a_model_of_two_outputs_is_refused(tmp_path):
    model = constant([0.0, 1.0])
    scores = keras.layers.Rescaling(2, name="scores")(model.outputs[0])
    both = model.__class__(model.inputs, {"logits": model.outputs[0], "scores": scores})
    text = (
        "Expected `model` to have one input, `image`, and one output, `logits`. Received: 1 inputs and 2 outputs "
        "(logits, scores)"
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        export(both, labels(2), tmp_path, "toy", spec=Export(), images=[image()])


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError) as error:
        export(constant([0.0, 1.0]), labels(2), tmp_path / "file", "toy", spec=Export(), images=[image()])
    assert str(error.value) == (
        f"{tmp_path}/file/toy/1: cannot be written (Not a directory); nothing was left behind and earlier versions are "
        "as they were. Make room or choose another folder with --output."
    )


def test_a_version_that_appears_meanwhile_is_left_alone(tmp_path, monkeypatch):
    def rival(*arguments):
        (tmp_path / "toy" / "1").mkdir()
        return ask(*arguments)

    monkeypatch.setattr("tfseg.exporting.artifacts.ask", rival)
    with pytest.raises(ExportError) as error:
        export(constant([0.0, 1.0]), labels(2), tmp_path, "toy", spec=Export(tflite=None), images=[image()])
    assert str(error.value) == (
        f"{tmp_path}/toy/1: appeared while this export was running, and was left as it is. Run the export again."
    )
    assert list(left(tmp_path)) == [tmp_path / "toy", tmp_path / "toy" / "1"]


def test_what_a_killed_export_left_is_swept(tmp_path):
    """But no folder that is being written, and none of the user's."""
    dead, foreign = tmp_path / "toy" / ".1-abcd_123", tmp_path / "toy" / ".1-notes_00"
    dead.mkdir(mode=0o700, parents=True)
    (dead / "saved_model.pb").write_text("half")
    foreign.mkdir(mode=0o755)
    (tmp_path / "toy" / ".1-linked00").symlink_to(tmp_path)
    with atomic_directory(tmp_path / "toy" / "1") as alive:
        sweep_directories(tmp_path / "toy" / "1")
        assert alive.is_dir() and not dead.exists()
    dead.mkdir(mode=0o700)
    (tmp_path / "toy" / "1").rmdir()
    export(constant([0.0, 1.0]), labels(2), tmp_path, "toy", spec=Export(tflite=None), images=[image()])
    assert {path.name for path in (tmp_path / "toy").iterdir()} == {"1", foreign.name, ".1-linked00"}


FULL = """
    import resource, sys
    from pathlib import Path
    from tests.exporting.toys import image, labels, network
    from tfseg.errors import ExportError
    from tfseg.exporting import Export, export

    model, folder = network(), Path(sys.argv[1])
    for limit in map(int, sys.argv[2:]):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            export(model, labels(), folder, "toy", spec=Export(), images=[image()])
        except ExportError as error:
            print(error)
"""


def test_a_full_disk_leaves_nothing_half_written(earlier):
    """No file may grow past a limit, which stops the export at the variables, the graph, the labels, and TFLite."""
    before = left(earlier)
    limits = ["64", "1100", "20000"]
    program = [sys.executable, "-c", textwrap.dedent(FULL), str(earlier), *limits]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == len(limits) * (
        f"{earlier}/toy/2: cannot be written (File too large); nothing was left behind and earlier versions are as "
        "they were. Make room or choose another folder with --output.\n"
    )
    assert left(earlier) == before
    loaded = tf.saved_model.load(str(earlier / "toy" / "1"))
    assert np.unique(loaded.signatures["serving_default"](image=image()[None])["mask"]).tolist() == [1]


def test_comparison_passes_at_the_tolerance_itself():
    assert Comparison("any", 1, 1, 1.0, 0, 1e-4).passes(1e-4)
    assert not Comparison("any", 1, 1, 1.0, 0, 1.01e-4).passes(1e-4)
    assert not Comparison("any", 1, 1, 0.0, 1, 0.0).passes(1e-4)


def test_spec_refuses_what_makes_no_sense():
    for wrong in ({"tolerance": 0.0}, {"examples": 0}, {"tflite": {"size": (0, 8)}}, {"tflite": {"size": (8, 8, 3)}}):
        with pytest.raises(SpecError, match=f"^Export: {next(iter(wrong))}"):
            Export(**wrong)
    assert Export(tflite=Tflite(size=(4, 8))) == Export(**{"tflite": {"size": (4, 8)}})

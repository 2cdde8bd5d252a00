"""Verification of artifacts: each kind of error is detected, reported with its values, and leaves no files."""

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
from tfseg.exporting.verify import Comparison, compare, comparison_inputs, expected_outputs, run_artifacts
from tfseg.spec.problems import SpecError

from .toys import ArgmaxPooling, GraphOffset, constant, image, labels, network

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("one_isolated_worker")  # except where `run_artifacts` is called itself


def contents(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_mismatching_saved_model_is_not_exported(tmp_path):
    model = network(after=[GraphOffset(1e3)])
    with pytest.raises(ExportError) as error:
        export(model, labels(), tmp_path, "toy", spec=Export(tflite=None), images=[image()])
    values = re.fullmatch(
        re.escape(
            f"{tmp_path}/toy/1: the outputs of the SavedModel differ from those of the model; nothing was exported. "
            "Masks agree on AGREE% of 12,480 pixels; WRONG pixels have another class although the model's two highest "
            "probabilities differ by more than 0.002 there (expected 0); the largest difference of a probability is "
            "LARGEST (expected at most 0.001). The usual cause is a layer that behaves differently in a graph. Change "
            "that layer; raise export.tolerance only for a difference that you can explain."
        )
        .replace("AGREE", r"([\d.]+)")
        .replace("WRONG", r"([\d,]+)")
        .replace("LARGEST", r"([\d.]+)"),
        str(error.value),
    )
    assert values, str(error.value)
    with Image.open(io.BytesIO(comparison_inputs([image()], 3, None)["encoded/2"].tobytes())) as photograph:
        rotated = np.rot90(np.asarray(photograph), 3)
    batches = [image()[None], np.stack([image(), image()[::-1, ::-1]]), image()[None], image()[None], rotated[None]]
    expected = [tf.nn.softmax(model(batch.astype(np.float32))).numpy() for batch in batches]
    zero = sum(int((batch.argmax(-1) == 0).sum()) for batch in expected)  # the artifact predicts class 0 everywhere
    assert float(values[1]) == pytest.approx(100 * zero / 12480, abs=1e-4)
    second, first = np.concatenate([np.sort(batch).reshape(-1, 3) for batch in expected]).T[-2:]
    best = np.concatenate([batch.argmax(-1).ravel() for batch in expected])
    assert int(values[2].replace(",", "")) == ((best != 0) & (first - second > 2e-3)).sum() > 9000
    assert float(values[3]) == pytest.approx(max(1 - batch[..., 0].min() for batch in expected), abs=0.01)
    assert contents(tmp_path) == {}


def test_mismatching_tflite_file_prevents_the_export(tmp_path):
    model = network(after=[GraphOffset(1e3, static_only=True)])
    with pytest.raises(ExportError) as error:
        export(model, labels(), tmp_path, "toy", spec=Export(), images=[image()])
    assert str(error.value).startswith(f"{tmp_path}/toy/1: the outputs of the TFLite file differ from those of")
    assert contents(tmp_path) == {}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    return export(constant([0.0, 1.0]), labels(2), folder, "toy", spec=Export(tflite=None), images=[image()]).folder


@pytest.fixture
def earlier(exported, tmp_path):
    """Creates a folder of exports with version 1 of `toy`."""
    shutil.copytree(exported, tmp_path / "toy" / "1")
    return tmp_path


def test_failed_verification_leaves_earlier_versions_unchanged(earlier):
    before = contents(earlier)
    with pytest.raises(ExportError, match="toy/2: the outputs of the SavedModel differ"):
        export(network(after=[GraphOffset(9.0)]), labels(), earlier, "toy", spec=Export(tflite=None), images=[image()])
    assert contents(earlier) == before


def test_small_difference_passes_with_a_larger_tolerance_only(tmp_path):
    spec = Export(tflite=None, tolerance=0.02)
    report = export(network(after=[GraphOffset(0.05)]), labels(), tmp_path, "toy", spec=spec, images=[image()])
    assert Export().tolerance < report.comparisons[0].largest_difference < 0.02
    assert not report.comparisons[0].passes(Export().tolerance)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Runs the artifacts of one network, and computes the outputs of that and of another network."""
    folder = tmp_path_factory.mktemp("two")
    mine, other = constant([0.0, 1.0, 0.0]), constant([1.0, 0.0, 0.0])
    write_saved_model(mine, folder / "saved")
    write_tflite(mine, folder / "mine.tflite", (8, 8))
    inputs = comparison_inputs([image()], 3, (8, 8))
    outputs = run_artifacts(folder / "saved", folder / "mine.tflite", inputs)
    return folder, inputs, outputs, expected_outputs(mine, inputs), expected_outputs(other, inputs)


@pytest.mark.parametrize(
    ("artifact", "prefixes", "pixels"),
    [("SavedModel", ("saved/", "encoded/"), 12480), ("TFLite file", ("tflite/",), 64)],
)
def test_comparison_with_the_right_and_the_wrong_model(two, artifact, prefixes, pixels):
    _, _, outputs, mine, other = two
    right = compare(artifact, prefixes, mine, outputs, 1e-4)
    assert (right.mask_agreement, right.wrong, right.passes(1e-4)) == (1.0, 0, True)
    wrong = compare(artifact, prefixes, other, outputs, 1e-4)
    apart = (np.e - 1) / (np.e + 2)
    assert (wrong.pixels, wrong.mask_agreement, wrong.wrong, wrong.passes(0.99)) == (pixels, 0.0, pixels, False)
    assert wrong.largest_difference == pytest.approx(apart, abs=1e-6)
    assert str(wrong) == (
        f"{artifact}: masks agree on 0.0000% of {pixels:,} pixels, probabilities differ by at most 3.6e-01 "
        f"({wrong.images} images)"
    )


@pytest.mark.parametrize("name", ["saved/0/mask", "saved/1/mask", "encoded/0/mask", "encoded/1/mask"])
def test_one_wrong_pixel_fails(two, name):
    _, _, outputs, mine, _ = two
    tampered = {**outputs, name: outputs[name].copy()}
    tampered[name][0, 3, 4] = 2
    found = compare("SavedModel", ("saved/", "encoded/"), mine, tampered, 1e-4)
    assert (found.wrong, found.passes(1e-4)) == (1, False)


@pytest.mark.parametrize("name", ["saved/1/confidence", "saved/0/probabilities", "tflite/0/probabilities"])
@pytest.mark.parametrize("value", [0.2, np.nan, np.inf])
def test_one_wrong_probability_fails(two, name, value):
    _, _, outputs, mine, _ = two
    tampered = {**outputs, name: outputs[name].copy()}
    tampered[name][0, 3, 4] = value
    found = compare("any", ("saved/", "encoded/", "tflite/"), mine, tampered, 1e-4)
    assert not found.passes(1e-4)


def test_output_of_another_shape(two):
    _, _, outputs, mine, _ = two
    tampered = {**outputs, "saved/0/mask": outputs["saved/0/mask"][:, 1:]}
    with pytest.raises(ExportError) as error:
        compare("SavedModel", ("saved/",), mine, tampered, 1e-4)
    assert str(error.value) == (
        "the output `mask` of the SavedModel has another shape than that of the model: received (1, 39, 52), expected "
        "(1, 40, 52). A layer of the network probably fixes the image or batch size."
    )


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 0.1), st.integers(2, 9))
def test_differences_within_the_tolerance_always_pass(seed, tolerance, classes):
    """The margin between the two highest probabilities ensures this, also for ties."""
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


def test_default_tolerance_separates_rounding_from_errors():
    """A resize with aligned corners and active dropout differ by more than ten times the default tolerance."""
    tolerance, inputs = Export().tolerance, comparison_inputs([image(0, 65, 97)], 3, None)
    mine = expected_outputs(network(), inputs)
    rounded = {key: value.astype(np.float16).astype(np.float32) for key, value in mine.items()}
    assert compare("any", ("saved/",), mine, rounded, tolerance).passes(tolerance)
    shifted = expected_outputs(network(align_corners=True), inputs)
    assert compare("any", ("saved/",), mine, shifted, tolerance).largest_difference > 10 * tolerance
    training = {}
    for key, batch in inputs.items():
        if key.startswith("saved/"):
            training[f"{key}/probabilities"] = tf.nn.softmax(network()(batch.astype(np.float32), training=True)).numpy()
    assert compare("any", ("saved/",), mine, training, tolerance).largest_difference > 10 * tolerance


def test_artifacts_that_cannot_be_loaded(two):
    folder, inputs, *_ = two
    with pytest.raises(ExportError) as error:
        run_artifacts(folder / "nowhere", None, inputs)
    text = str(error.value)
    assert text.startswith(
        "the export cannot be used without tfseg: an isolated process failed to load and run it (exit code 1): "
        "OSError: SavedModel file does not exist at: "
    )


def test_unsupported_operations_are_reported_with_their_layers(tmp_path, capfd):
    model = network(before=[ArgmaxPooling(name="pool1"), ArgmaxPooling(name="pool1_1")])
    with pytest.raises(ExportError) as error:
        export(model, labels(), tmp_path, "toy", spec=Export(), images=[image()])
    assert str(error.value) == (
        "the model cannot be converted to TFLite with builtin operations only: it needs MaxPoolWithArgmax (layers "
        "pool1, pool1_1). Build the network without these, or set export.tflite=null to export the SavedModel only."
    )
    assert contents(tmp_path) == {}
    assert capfd.readouterr() == ("", "")
    assert export(model, labels(), tmp_path, "toy", spec=Export(tflite=None), images=[image()]).tflite is None


def test_operations_of_a_tflite_file(two, tmp_path):
    """Operations that are not builtin are listed, too."""
    folder, *_ = two
    assert operations((folder / "mine.tflite").read_bytes()) == ("CONV_2D", "SOFTMAX")
    write_saved_model(network(before=[ArgmaxPooling(name="pool1")]), tmp_path / "saved")
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"), signature_keys=["probabilities"])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    assert "FlexMaxPoolWithArgmax" in operations(converter.convert())


def test_model_with_nan_outputs_is_rejected(tmp_path):
    with pytest.raises(ExportError) as error:
        export(constant([np.nan, 0.0]), labels(2), tmp_path, "toy", spec=Export(), images=[image()])
    assert str(error.value) == (
        "the model's probabilities are not finite, so that artifacts cannot be compared with it. Export a checkpoint "
        "from before the training diverged."
    )
    assert contents(tmp_path) == {}


def test_wrong_number_of_labels_is_rejected(tmp_path):
    with pytest.raises(ExportError) as error:
        export(constant([0.0, 1.0]), labels(3), tmp_path, "toy", spec=Export(), images=[image()])
    assert str(error.value) == (
        "the model predicts 2 classes, and there are 3 labels: class0, class1, class2. Export it with the labels it "
        "was trained with."
    )
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("images", "received"),
    [
        ([], "[]"),
        ([image(channels=1)], "['uint8 (40, 52, 1)']"),
        ([image().astype(np.float32)], "['float32 (40, 52, 3)']"),
        ([image()[None]], "['uint8 (1, 40, 52, 3)']"),
    ],
)
def test_invalid_images_are_rejected(tmp_path, images, received):
    text = f"Expected `images` to be one or more uint8 arrays [height, width, 3]. Received: images={received}"
    with pytest.raises(ValueError, match=re.escape(text)):
        export(constant([0.0, 1.0]), labels(2), tmp_path, "toy", spec=Export(), images=images)


def test_model_with_two_outputs_is_rejected(tmp_path):
    model = constant([0.0, 1.0])
    scores = keras.layers.Rescaling(2, name="scores")(model.outputs[0])
    both = model.__class__(model.inputs, {"logits": model.outputs[0], "scores": scores})
    text = (
        "Expected `model` to have one input, `image`, and one output, `logits`. Received: 1 inputs and 2 outputs "
        "(logits, scores)"
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        export(both, labels(2), tmp_path, "toy", spec=Export(), images=[image()])


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError) as error:
        export(constant([0.0, 1.0]), labels(2), tmp_path / "file", "toy", spec=Export(), images=[image()])
    assert str(error.value) == (
        f"{tmp_path}/file/toy/1: cannot be written (Not a directory); earlier versions are unchanged. Free disk space "
        "or choose another folder with --output."
    )


def test_version_created_by_another_process_is_not_changed(tmp_path, monkeypatch):
    def concurrent(*arguments):
        (tmp_path / "toy" / "1").mkdir()
        return run_artifacts(*arguments)

    monkeypatch.setattr("tfseg.exporting.artifacts.run_artifacts", concurrent)
    with pytest.raises(ExportError) as error:
        export(constant([0.0, 1.0]), labels(2), tmp_path, "toy", spec=Export(tflite=None), images=[image()])
    assert str(error.value) == (
        f"{tmp_path}/toy/1: was created by another process during this export, and was not changed. Rerun the export."
    )
    assert list(contents(tmp_path)) == [tmp_path / "toy", tmp_path / "toy" / "1"]


def test_temporary_folders_of_killed_exports_are_deleted(tmp_path):
    """Folders that are being written and folders of the user are kept."""
    stale, foreign = tmp_path / "toy" / ".1-abcd_123", tmp_path / "toy" / ".1-notes_00"
    stale.mkdir(mode=0o700, parents=True)
    (stale / "saved_model.pb").write_text("half")
    foreign.mkdir(mode=0o755)
    (tmp_path / "toy" / ".1-linked00").symlink_to(tmp_path)
    with atomic_directory(tmp_path / "toy" / "1") as alive:
        sweep_directories(tmp_path / "toy" / "1")
        assert alive.is_dir() and not stale.exists()
    stale.mkdir(mode=0o700)
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


def test_full_disk_leaves_no_partial_files(earlier):
    """Limits of the file size stop the export at the variables, the graph, the labels and the TFLite file."""
    before = contents(earlier)
    limits = ["64", "1100", "20000"]
    program = [sys.executable, "-c", textwrap.dedent(FULL), str(earlier), *limits]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == len(limits) * (
        f"{earlier}/toy/2: cannot be written (File too large); earlier versions are unchanged. Free disk space or "
        "choose another folder with --output.\n"
    )
    assert contents(earlier) == before
    loaded = tf.saved_model.load(str(earlier / "toy" / "1"))
    assert np.unique(loaded.signatures["serving_default"](image=image()[None])["mask"]).tolist() == [1]


def test_difference_equal_to_the_tolerance_passes():
    assert Comparison("any", 1, 1, 1.0, 0, 1e-4).passes(1e-4)
    assert not Comparison("any", 1, 1, 1.0, 0, 1.01e-4).passes(1e-4)
    assert not Comparison("any", 1, 1, 0.0, 1, 0.0).passes(1e-4)


def test_invalid_settings_are_rejected():
    for wrong in ({"tolerance": 0.0}, {"examples": 0}, {"tflite": {"size": (0, 8)}}, {"tflite": {"size": (8, 8, 3)}}):
        with pytest.raises(SpecError, match=f"^Export: {next(iter(wrong))}"):
            Export(**wrong)
    assert Export(tflite=Tflite(size=(4, 8))) == Export(**{"tflite": {"size": (4, 8)}})

"""Command line: output, errors and exit codes."""

import contextlib
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import keras
import numpy as np
import pytest
import yaml
from PIL import Image

import tfseg
import tfseg.runs.fit
from tests.processes import plain_environment
from tfseg.cli.arguments import OPTIONS, VERBS
from tfseg.cli.commands import main
from tfseg.cli.commands import tfseg as tfseg_group
from tfseg.cli.listing import CATALOGUE
from tfseg.data.show import contact_sheet
from tfseg.pipeline import Pipeline
from tfseg.shipped import headline, shipped
from tfseg.spec.slots import described
from tfseg.spec.source import read
from tfseg.spec.validate import SpecError, validate
from tfseg.training.files import states

ROOT = Path(__file__).resolve().parents[2]
TINY = """\
# A pipeline for tests.
name: tiny
labels: {names: [background, disc, square]}
data:
  source: {type: shapes, size: 32, train: 8, val: 4, test: 2}
  batch_size: 4
model:
  backbone: {type: small_cnn, filters: 4}
  decoder: {type: fcn, strides: [16, 8]}
training: {epochs: 1}
export: {examples: 1}
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("pipelines") / "tiny.yaml"
    file.write_text(TINY)
    return str(file)


@pytest.fixture(scope="module")
def run(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the tiny pipeline. A quiet training prints nothing."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["-q", "fit", tiny, "--run-dir", str(folder)]) == 0
    assert out.getvalue() == ""
    return folder


@pytest.fixture
def invoke(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line and returns exit code, stdout and stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([str(word) for word in words])
        return code, *capfd.readouterr()

    return call


Invoke = Callable[..., tuple[int, str, str]]


def process(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a new process."""
    return python("-m", "tfseg", *words, **environment)


def python(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in a new process."""
    whole = plain_environment() | environment
    return subprocess.run([sys.executable, *words], cwd=ROOT, env=whole, capture_output=True, text=True, check=False)


# Start-up.


def test_help_is_fast() -> None:
    """Measured in processor time, which does not depend on the load of the machine."""

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "export" in process("--help").stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5


def test_start_is_quiet(tiny: str) -> None:
    outcome = process("check", tiny)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert outcome.stdout.startswith(f"{tiny}: OK\n")


@pytest.mark.slow
def test_low_log_level_shows_tensorflow_messages(tiny: str) -> None:
    assert "oneDNN" in process("check", tiny, TF_CPP_MIN_LOG_LEVEL="0").stderr


def test_messages_are_shown_if_the_import_fails() -> None:
    code = (
        "import os, tfseg.cli.console\n"
        "with tfseg.cli.console._start_up_hidden():\n"
        "    os.write(2, b'no such library')\n"
        "    raise ImportError('keras')\n"
    )
    outcome = python("-c", code)
    assert "no such library" in outcome.stderr


def test_version(invoke: Invoke) -> None:
    assert invoke("--version") == (0, f"tfseg {tfseg.__version__}\n", "")


@pytest.mark.parametrize("verb", ["check", "show", "schema", "list", "fit", "evaluate", "predict", "export", "data"])
def test_every_command_has_help(verb: str, invoke: Invoke) -> None:
    code, out, _ = invoke(verb, "--help")
    assert code == 0
    assert out.startswith(f"Usage: tfseg {verb}")


# Pipeline files.


def test_check(tiny: str, invoke: Invoke) -> None:
    code, out, err = invoke("check", tiny, "model.backbone.output_stride=8", "model.decoder.strides=[8]", tiny)
    assert (code, err) == (0, "")
    assert out.count(f"{tiny}: OK\n") == 2
    assert re.search(r"^  parameters +[\d,]+ \([\d,]+ trainable, [\d,]+ non-trainable\)$", out, re.MULTILINE)
    assert re.search(r"^  output stride +8$", out, re.MULTILINE)
    assert re.search(r"^  receptive field +\d+ pixels$", out, re.MULTILINE)
    assert re.search(r"^  output +\[batch, height, width, 3\]$", out, re.MULTILINE)


def test_check_continues_after_a_bad_file(tiny: str, tmp_path: Path, invoke: Invoke) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(TINY.replace("epochs", "epoch"))
    code, out, err = invoke("check", bad, tiny)
    assert code == 2
    assert err.startswith(f"{bad}:10: training.epoch: ")
    assert "Traceback" not in err
    assert out.startswith(f"{tiny}: OK\n")


def test_check_quiet(tiny: str, invoke: Invoke) -> None:
    assert invoke("check", tiny, "-q") == (0, "", "")
    assert invoke("-q", "check", tiny) == (0, "", "")


@pytest.mark.parametrize("file", shipped(), ids=lambda file: file.stem)
def test_shipped_pipelines_are_found_by_name(file: Path, invoke: Invoke) -> None:
    code, out, err = invoke("show", file.stem)
    assert (code, err) == (0, "")
    assert yaml.safe_load(out)["name"]


def test_output_of_show_is_an_equal_pipeline(tiny: str, tmp_path: Path, invoke: Invoke) -> None:
    code, out, _ = invoke("show", tiny, "training.epochs=7")
    assert code == 0
    again = tmp_path / "again.yaml"
    again.write_text(out)
    assert tfseg.load(again) == tfseg.load(tiny, ["training.epochs=7"])


def test_schema(invoke: Invoke) -> None:
    code, out, err = invoke("schema")
    assert (code, err) == (0, "")
    validator = jsonschema.Draft202012Validator(json.loads(out))
    validator.validate(yaml.safe_load(TINY))
    assert list(validator.iter_errors({**yaml.safe_load(TINY), "nonsense": 1}))


def test_list(invoke: Invoke) -> None:
    code, out, err = invoke("list")
    assert (code, err) == (0, "")
    assert re.search(r"^backbone\n(  .*\n)*  small_cnn +[A-Z]", out, re.MULTILINE)
    for file in shipped():
        assert re.search(rf"^  {file.stem} +{re.escape(headline(file))}$", out, re.MULTILINE)


def test_list_of_one_slot(invoke: Invoke) -> None:
    code, out, _ = invoke("list", "loss", "optimizer")
    assert code == 0 and [line for line in out.splitlines() if not line.startswith(" ")] == ["loss", "optimizer"]
    code, out, _ = invoke("list", "pipelines")
    assert code == 0 and len(out.splitlines()) == 1 + len(shipped())
    code, out, err = invoke("list", "optimizers")
    assert (code, out) == (2, "")
    assert 'Received: "optimizers". Did you mean "optimizer"?' in err and "Expected one of source, mask, " in err


def test_every_line_of_the_list_is_a_sentence(invoke: Invoke) -> None:
    """Those of Keras's own layers are Keras's."""
    _, out, _ = invoke("list")
    lines = [line for line in out.splitlines() if line.startswith("  ")]
    assert not [line for line in lines if not re.search(r"\w[)`]*\.$", line)]


def test_components_are_those_of_the_slots() -> None:
    found = described(Pipeline)
    assert json.loads(CATALOGUE.read_text()) == found, "run .ci/write_catalogue"
    backbones = {"alexnet", "applications", "contracting_path", "googlenet", "mobilenet_v2", "resnet", "small_cnn"}
    assert backbones | {"vgg16"} == set(found["backbone"])
    assert {"shapes", "folder", "tfrecord", "camvid", "voc", "python"} <= set(found["source"])
    assert {"sgd", "adamw", "keras"} == set(found["optimizer"])
    assert {"scale", "rotate", "flip", "color_jitter", "mosaic", "one_of"} <= set(found["augment"])
    undocumented = [word for slot in found.values() for word, line in slot.items() if not line]
    assert not undocumented, f"specs without a first docstring line: {undocumented}"


def test_list_needs_no_tensorflow() -> None:
    """TensorFlow takes seconds to import."""
    code = (
        "import sys\n"
        "from tfseg.cli.commands import main\n"
        "main(['list'])\n"
        "print(*sorted({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))\n"
    )
    outcome = python("-c", code)
    assert outcome.stdout.endswith("\n\n") and "  deeplab_v1 " in outcome.stdout


# Training, evaluation, prediction and export.


def test_fit_writes_a_run_directory(run: Path) -> None:
    files = {"model.keras", "last.keras", "pipeline.yaml", "labels.json", "metrics-val.json", "history.csv", "logs"}
    assert files <= {path.name for path in run.iterdir()}
    assert keras.models.load_model(run / "model.keras", compile=False).output_shape == (None, None, None, 3)


def test_fit_rejects_a_finished_run(run: Path, tiny: str, invoke: Invoke) -> None:
    code, out, err = invoke("fit", tiny, "--run-dir", run)
    assert (code, out) == (1, "")
    assert err == (
        f"{run}: contains a finished run. Choose another folder with --run-dir, or delete it with --overwrite.\n"
    )


def test_evaluate(run: Path, tmp_path: Path, invoke: Invoke) -> None:
    code, out, _ = invoke("evaluate", run, "--split", "test", "--output", tmp_path / "test.json")
    report = json.loads((tmp_path / "test.json").read_text())
    assert code == 0
    assert report == json.loads((run / "metrics-test.json").read_text())
    assert "test: 2 images" in out
    assert re.search(rf"^  miou +{report['miou']:.4f}$", out, re.MULTILINE)
    assert re.search(rf"^  boundary_iou +{report['boundary']['iou']:.4f}$", out, re.MULTILINE)
    trimap = report["boundary"]["trimap_miou"]
    line = rf"^  trimap_miou +{trimap['1']:.4f} within 1 pixel, {trimap['20']:.4f} within 20$"
    assert re.search(line, out, re.MULTILINE)
    assert re.search(r"^  background +\d\.\d{4}$", out, re.MULTILINE)


def test_evaluate_requires_a_dataset(run: Path, tiny: str, tmp_path: Path, invoke: Invoke) -> None:
    model = tmp_path / "alone.keras"
    model.write_bytes((run / "model.keras").read_bytes())
    code, _, err = invoke("evaluate", model)
    assert code == 1
    assert err == (
        f"{model}: has no pipeline, which defines the dataset. "
        "Expected a run directory, or a pipeline as well (--pipeline FILE).\n"
    )
    assert invoke("evaluate", model, "--pipeline", tiny, "-q")[0] == 0


def test_predict(run: Path, tmp_path: Path, invoke: Invoke) -> None:
    image = tmp_path / "scene.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8)).save(image)
    code, out, _ = invoke("predict", run, image, "--output", tmp_path / "masks", "--overlay")
    assert code == 0
    with Image.open(tmp_path / "masks" / "scene.png") as mask:
        assert (mask.mode, mask.size) == ("P", (50, 37))
        assert np.asarray(mask).max() < 3
    assert sorted(out.split()) == sorted(map(str, (tmp_path / "masks").iterdir()))
    assert len(out.split()) == 2
    assert invoke("predict", run, tmp_path, "--output", tmp_path / "again", "--legend")[0] == 0
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == ["legend.png", "scene.png"]


def test_undecodable_file_names(run: Path, tmp_path: Path) -> None:
    """File names are bytes and may not be valid text."""
    image = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(image)
    outcome = process("predict", str(run), image, "--output", str(tmp_path / "masks"), PYTHONIOENCODING="utf-8")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert outcome.stdout == f"{tmp_path}/masks/caf\\xe9.png\n"
    assert os.listdir(os.fsencode(tmp_path / "masks")) == [b"caf\xe9.png"]


def test_evaluate_takes_overrides(run: Path, tiny: str, tmp_path: Path, invoke: Invoke) -> None:
    """Overrides apply to the dataset and inference settings. The metrics of the run are not overwritten."""
    before = (run / "metrics-val.json").read_bytes()
    for words in ((), ("--pipeline", tiny)):
        file = tmp_path / f"{len(words)}.json"
        assert invoke("evaluate", run, "data.source.val=3", *words, "--output", file, "-q")[0] == 0
        assert json.loads(file.read_text())["images"] == 3
    assert invoke("evaluate", run, "inference.size=16", "--output", tmp_path / "small.json", "-q")[0] == 0
    small, whole = (json.loads(text) for text in ((tmp_path / "small.json").read_text(), before))
    assert small["pipeline_sha256"] != whole["pipeline_sha256"]
    assert (run / "metrics-val.json").read_bytes() == before
    code, _, err = invoke("evaluate", run, "model.grid=1")
    assert code == 2
    assert "MODEL is already trained; expected keys of data or inference. Received: model.grid=1" in err
    assert invoke("evaluate", run, run)[0] == 2
    assert f"Expected one MODEL. Received: {run} {run}" in invoke("evaluate", run, run)[2]


@pytest.mark.parametrize("quote", ['"', "'", ""])
def test_keys_with_special_characters(quote: str, tiny: str, invoke: Invoke) -> None:
    code, out, _ = invoke("show", tiny, f"training.optimizer.lr_multipliers.{quote}/bias${quote}=2.0")
    assert code == 0
    assert "/bias$: 2.0" in out


@pytest.mark.slow
@pytest.mark.parametrize("level", ["2", "3"])
def test_high_log_level_is_quiet(level: str, tiny: str) -> None:
    outcome = process("check", "-q", tiny, TF_CPP_MIN_LOG_LEVEL=level)
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")


def test_predict_continues_after_a_bad_image(run: Path, tmp_path: Path, invoke: Invoke) -> None:
    paths = [tmp_path / f"{name}.png" for name in "abcd"]
    for path in paths[::2]:
        Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(path)
    for path in paths[1::2]:
        path.write_bytes(b"not an image")
    code, out, err = invoke("predict", run, *paths, "--output", tmp_path / "masks")
    assert code == 1
    assert out.split() == [str(tmp_path / "masks" / f"{name}.png") for name in "ac"]
    first, *lines = err.splitlines()
    assert first == "2 of 4 images could not be read; the others were predicted."
    assert [line.partition(": ")[0] for line in lines] == [str(path) for path in paths[1::2]]


def test_predict_reports_a_bad_image(run: Path, tmp_path: Path, invoke: Invoke) -> None:
    image = tmp_path / "scene.png"
    image.write_bytes(b"not an image")
    code, _, err = invoke("predict", run, image, "--output", tmp_path / "masks")
    assert code == 1
    assert err.startswith(f"{image}: ")
    assert "Traceback" not in err


def test_export(run: Path, tmp_path: Path, invoke: Invoke) -> None:
    code, out, _ = invoke("export", run, "--output", tmp_path, "export.tflite=null")
    assert code == 0
    assert out.startswith(f"{tmp_path}/tiny/1\n")
    assert (tmp_path / "tiny/1/saved_model.pb").is_file()


# Datasets.


def test_data_check(tiny: str, invoke: Invoke) -> None:
    words = ["data", "check", tiny, "data.source.train=30", "data.source.val=10"]
    assert invoke(*words) == (0, f"{tiny}: no problems\n", "")


def test_data_check_warns_about_absent_classes(tiny: str, invoke: Invoke) -> None:
    code, out, err = invoke(
        "data",
        "check",
        tiny,
        "labels.names=[background, disc, square, triangle, ring, cross, bar]",
        "data.source.train=1",
    )
    assert code == 0
    assert err.startswith("warning: train: no mask contains the class")
    assert out == f"{tiny}: no problems, 1 warning\n"


def test_data_check_prints_proposals_as_yaml(tiny: str, invoke: Invoke) -> None:
    code, out, _ = invoke("data", "check", tiny, "data.crop=64", "data.source.train=2", "data.source.val=2")
    assert (code, out) == (
        0,
        f"{tiny}: no problems\nproposed settings, as YAML:\ndata:\n  crop: [32, 32]  # 2 of 2 training images are "
        "smaller than the crop, 64x64\n",
    )


def test_data_check_reports_problems(tiny: str, invoke: Invoke, tmp_path: Path) -> None:
    for split in ("train", "val"):
        for part in ("images", "masks"):
            (tmp_path / split / part).mkdir(parents=True)
            Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / split / part / f"{split}.png")
    (tmp_path / "train" / "images" / "train.png").write_bytes(b"")
    report, sheet = tmp_path / "new" / "report.json", tmp_path / "sheet.png"
    words = ["data", "check", tiny, "data.source={type: folder}", f"data.root={tmp_path}"]
    code, out, err = invoke(*words, "--json", report, "--sheet", sheet)
    assert (code, out) == (1, f"{tiny}: 1 problem\n")
    assert err.startswith(f"{tmp_path}/train/images/train.png: cannot be decoded (0 bytes).")
    (finding,) = json.loads(report.read_text())["findings"]
    assert (finding["level"], finding["split"], finding["message"]) == ("error", "train", err.strip())
    assert Image.open(sheet).format == "PNG"
    code, _, err = invoke(*words, "--json", tmp_path)
    assert (code, err) == (
        1,
        f"{tmp_path}: cannot be written (Is a directory). Expected a file in a writable folder.\n",
    )


def test_data_stats(tiny: str, invoke: Invoke) -> None:
    code, out, err = invoke("data", "stats", tiny)
    assert (code, err) == (0, "")
    statistics = yaml.safe_load(out)
    assert statistics["train"]["images"] == 8
    assert statistics["val"]["sizes"] == {"32x32": 4}
    assert sum(statistics["val"]["pixels"].values()) + statistics["val"]["ignored"] == 4 * 32 * 32


def test_data_bench(tiny: str, invoke: Invoke) -> None:
    code, out, err = invoke("data", "bench", tiny)
    assert (code, err) == (0, "")
    assert re.fullmatch(r"images per second\n  decode   +\d+\n  augment  +\d+\n  batch    +\d+\n", out)


def test_data_convert(tiny: str, invoke: Invoke, tmp_path: Path) -> None:
    output = tmp_path / "records"
    words = ["data", "convert", tiny, "--output", str(output), "data.source.train=3", "data.source.val=2"]
    code, _, err = invoke(*words)
    assert (code, err.splitlines()[-1]) == (
        2,
        "Error: Expected either --to tfrecord, for a dataset, or --from FORMAT, for annotations.",
    )
    code, out, err = invoke(*words, "--to", "tfrecord", "--shards", "2", "--split", "train", "--split", "val")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"Pipeline saved to {output / 'pipeline.yaml'}"
    assert (output / "train-00001-of-00002.tfrecord").is_file()
    assert "\n  root: .\n" in (output / "pipeline.yaml").read_text()
    moved = output.rename(tmp_path / "moved")
    code, out, _ = invoke("data", "check", str(moved / "pipeline.yaml"))
    assert (code, out) == (0, f"{moved / 'pipeline.yaml'}: no problems\n")
    code, out, err = invoke("-q", *words[:3], "--to", "tfrecord", "--output", str(moved), *words[5:])
    assert code == 1
    assert err == (
        f"{moved}: contains an earlier conversion. Continue it with --resume, replace it with --overwrite, or choose "
        "another --output.\n"
    )
    code, out, err = invoke("-q", *words[:3], "--to", "tfrecord", "--output", str(moved), *words[5:], "--overwrite")
    assert (code, out, err) == (0, "", "")
    assert len(list(moved.glob("*.tfrecord"))) == 3


def test_data_show(tiny: str, invoke: Invoke, tmp_path: Path) -> None:
    """The sheet is that of the function; an existing file is kept without --overwrite."""
    output, words = tmp_path / "new" / "sheet.png", ["--count", 3, "--columns", 2, "--epoch", 1]
    override = "data.augment=[{type: sometimes, ops: [flip]}, class_mix]"
    assert invoke("data", "show", tiny, override, "--output", output, *words) == (
        0,
        f"Contact sheet saved to {output}\n",
        "",
    )
    pipeline = tfseg.load(tiny, [override])
    sheet = contact_sheet(pipeline.data.open(pipeline.labels, pipeline.seed), count=3, columns=2, epoch=1)
    np.testing.assert_array_equal(np.asarray(Image.open(output)), sheet)
    assert list(output.parent.iterdir()) == [output]
    code, _, err = invoke("data", "show", tiny, "--output", output)
    assert (code, err) == (1, f"{output}: already exists. Choose another --output, or replace it with --overwrite.\n")
    assert invoke("-q", "data", "show", tiny, "--output", output, "--overwrite", "--split", "val") == (0, "", "")
    assert Image.open(output).size != sheet.shape[1::-1]
    code, _, err = invoke("data", "show", tiny, "--output", tmp_path / "a.png", "--split", "nothing")
    assert code == 1 and "nothing" in err and not (tmp_path / "a.png").exists()


# Errors.


def test_usage_errors(invoke: Invoke) -> None:
    code, _, err = invoke("fit", "a.yaml", "b.yaml", "seed=1")
    assert (code, err.splitlines()[-1]) == (2, "Error: Expected one FILE. Received: a.yaml b.yaml")
    code, _, err = invoke("show", "seed=1")
    assert (code, err.splitlines()[-1]) == (2, "Error: Expected one FILE. Received: none")
    code, _, err = invoke("check", "seed=1")
    assert (code, err.splitlines()[-1]) == (2, "Error: Expected at least one FILE. Received: seed=1")
    assert invoke("nonsense")[0] == 2


def test_file_given_as_an_option(invoke: Invoke) -> None:
    code, _, err = invoke("fit", "--config", "x.yaml")
    assert (code, err.splitlines()[-1]) == (2, "FILE is a positional argument, for example: tfseg fit streets.yaml.")


@pytest.mark.parametrize("name", VERBS)
def test_commands_of_other_tools_suggest_ours(name: str, invoke: Invoke) -> None:
    code, _, err = invoke(name, "x.yaml")
    assert (code, err.splitlines()[-1]) == (2, f"Error: No such command '{name}'. Did you mean `tfseg {VERBS[name]}`?")
    assert VERBS[name].split()[0] in tfseg_group.commands


@pytest.mark.parametrize("name", OPTIONS)
def test_options_of_other_tools_suggest_an_override(name: str, tiny: str, invoke: Invoke) -> None:
    code, _, err = invoke("fit", tiny, f"--{name}", "3")
    assert code == 2
    assert err.splitlines()[-1] == f"Set keys of FILE with KEY=VALUE, for example {OPTIONS[name]}."
    key = OPTIONS[name].partition("=")[0]
    document = read(tiny, [f"{key}={{no: such}}"])
    with pytest.raises(SpecError) as error:
        validate(Pipeline, document)
    assert all(problem.path.startswith(key) for problem in error.value.problems), "the key exists"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "training.lr=1",
            "training.lr: unknown key; learning_rate is at training.optimizer.learning_rate. Known keys:",
        ),
        ("training.max_epochs=1", 'training.max_epochs: unknown key; did you mean "epochs"? Known keys:'),
        ("lr=1", "lr: unknown key; learning_rate is at training.optimizer.learning_rate. Known keys:"),
        ("backbone=unet", "backbone: unknown key; it belongs at model.backbone. Known keys:"),
        ("backbone=unet", '; "unet" is a choice of model.decoder'),
        ("model.backbone=unet", 'received "unet"; "unet" is a choice of model.decoder'),
        ("model.grid=none", 'model.grid: expected "auto" or an integer from 0 to 1 or null; received "none"'),
    ],
)
def test_keys_of_other_tools_suggest_ours(override: str, message: str, tiny: str, invoke: Invoke) -> None:
    code, _, err = invoke("check", tiny, override)
    assert code == 2
    assert message in err


def test_long_override_is_not_taken_for_a_file(tiny: str, invoke: Invoke) -> None:
    assert invoke("show", tiny, f"labels.names=[{', '.join(f'class_{index}' for index in range(200))}]")[0] == 0


def test_file_name_with_an_equals_sign(tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lr=3.yaml").write_text(TINY)
    assert invoke("show", "lr=3.yaml", "seed=5")[0] == 0


def test_errors_contain_the_override(tiny: str, invoke: Invoke) -> None:
    code, out, err = invoke("show", tiny, "training.epochs=many")
    assert (code, out) == (2, "")
    assert err.startswith('override "training.epochs=many": training.epochs: ')


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[BaseException], None]]:
    """Makes `fit` raise a given error."""

    def arrange(error: BaseException) -> None:
        def fit(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(tfseg.runs.fit, "fit", fit)

    yield arrange


Failing = Callable[[BaseException], None]


def test_unexpected_error(tiny: str, invoke: Invoke, failing: Failing) -> None:
    failing(ValueError("odd"))
    assert invoke("fit", tiny) == (
        1,
        "",
        "ValueError: odd\nUnexpected error; rerun with --debug to see where.\n",
    )


@pytest.mark.parametrize("epoch", [2**63 - 1, 10**20, -1])
def test_epoch_of_a_sheet_has_limits(epoch: int, tiny: str, invoke: Invoke) -> None:
    code, _, err = invoke("data", "show", tiny, "--epoch", epoch)
    assert code == 2 and f"Invalid value for '--epoch': {epoch} is not in the range 0<=x<=2147483647." in err


def test_end_of_a_file_is_not_taken_for_an_interrupt(tiny: str, invoke: Invoke, failing: Failing) -> None:
    failing(EOFError("no data left"))
    code, out, err = invoke("fit", tiny)
    expected = "EOFError: no data left\nUnexpected error; rerun with --debug to see where."
    assert (code, out, err.strip()) == (1, "", expected)
    code, _, err = invoke("fit", tiny, "--debug")
    assert code == 1 and "Traceback (most recent call last):" in err and err.rstrip().endswith("no data left")


@pytest.mark.parametrize("words", [["--debug", "fit"], ["fit", "--debug"]])
def test_debug_shows_the_traceback(words: list[str], tiny: str, invoke: Invoke, failing: Failing) -> None:
    failing(tfseg.RunError("cannot go on"))
    code, _, err = invoke(*words, tiny)
    assert code == 1
    assert err.startswith("Traceback (most recent call last):")
    assert err.rstrip().endswith("RunError: cannot go on")


def test_operating_system_errors(tiny: str, invoke: Invoke, failing: Failing) -> None:
    failing(PermissionError(13, "Permission denied", "runs/tiny"))
    assert invoke("fit", tiny) == (1, "", "runs/tiny: Permission denied\n")
    failing(OSError(28, "No space left on device", "runs/tiny/labels.json"))
    assert invoke("fit", tiny) == (
        1,
        "",
        "runs/tiny/labels.json: No space left on device. Free disk space and rerun the command\n",
    )


def test_deleted_working_directory(tiny: str, invoke: Invoke, failing: Failing) -> None:
    failing(FileNotFoundError(2, "No such file or directory"))
    assert invoke("fit", tiny) == (1, "", "The working directory no longer exists. Change to another one.\n")


def test_interrupted_run_prints_the_command_to_resume(run: Path, tiny: str, invoke: Invoke, failing: Failing) -> None:
    failing(KeyboardInterrupt())
    code, out, err = invoke("fit", tiny, "--run-dir", run)
    assert (code, out, err.strip()) == (130, "", f"Stopped.\nResume with: tfseg fit {run} --resume")


@pytest.mark.parametrize("name", ["", "pipeline.yaml"])
def test_run_directory_in_place_of_the_file_to_resume(run: Path, name: str, invoke: Invoke) -> None:
    code, _, err = invoke("fit", run / name, "--resume")
    assert (code, err) == (
        1,
        f"{run}: the run is finished, so there is nothing to resume. To train longer, add a larger value of "
        "training.epochs or training.steps to the command.\n",
    )


def test_interrupt(tiny: str, invoke: Invoke, failing: Failing) -> None:
    failing(KeyboardInterrupt())
    code, out, err = invoke("fit", tiny)
    assert (code, out, err.strip()) == (130, "", "Stopped.")


def test_termination(tiny: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM has the effect of Ctrl-C, with another exit code. The signal handler is restored afterwards."""

    def wait(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    monkeypatch.setattr(tfseg.runs.fit, "fit", wait)
    before = signal.getsignal(signal.SIGTERM)
    code, out, err = invoke("fit", tiny)
    assert (code, out, err.strip()) == (143, "", "Stopped.")
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupt_of_a_real_training(sent: signal.Signals, code: int, tiny: str, tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM during training print no traceback. The resumed run equals an uninterrupted one."""
    words = [sys.executable, "-m", "tfseg", "fit", tiny, "training.epochs=8", "--run-dir"]
    plain: dict[str, Any] = {"cwd": ROOT, "env": plain_environment(), "text": True}
    uninterrupted, interrupted = tmp_path / "uninterrupted", tmp_path / "interrupted"
    child = subprocess.Popen(
        [*words, str(interrupted)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # SIGINT may be ignored in this process
        **plain,
    )
    try:
        deadline = time.monotonic() + 120
        while not states(interrupted) and child.poll() is None:
            assert time.monotonic() < deadline, "no epoch within two minutes"
            time.sleep(0.05)
        child.send_signal(sent)
        _, err = child.communicate(timeout=300)
    finally:
        child.kill()
    notice = "Stopping as soon as the state of the training is saved. Repeat to stop at once."
    stopped = f"{notice} Stopped. Resume with: tfseg fit {interrupted} --resume"
    assert (child.returncode, " ".join(err.split())) == (code, stopped)
    done = len(tfseg.Run(interrupted).history)
    assert 1 <= done < 8 and not (interrupted / "metrics-val.json").exists()
    for command in ([*words[:4], str(interrupted), "--resume"], [*words, str(uninterrupted)]):
        subprocess.run(command, check=True, capture_output=True, timeout=600, **plain)
    resumed, expected = tfseg.Run(interrupted), tfseg.Run(uninterrupted)
    assert [row["epoch"] for row in resumed.history] == [float(epoch + 1) for epoch in range(8)]
    assert resumed.metrics == expected.metrics
    for name in ("model.keras", "last.keras"):
        weights = zip(resumed.model(name).weights, expected.model(name).weights, strict=True)
        for first, second in weights:
            np.testing.assert_array_equal(first.numpy(), second.numpy(), err_msg=first.path)


def test_closed_pipe_is_not_an_error() -> None:
    command = f"{sys.executable} -m tfseg schema | head -1"
    outcome = subprocess.run(["/bin/sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.stdout == "{\n"
    assert "BrokenPipe" not in outcome.stderr

"""Tests of the spec of a pipeline file, of the checks between its sections, and of the shipped pipelines."""

from pathlib import Path

import pytest

import tfseg
from tfseg.pipeline import check, load
from tfseg.shipped import shipped
from tfseg.spec.show import dump

STREETS = """\
name: streets
labels: {names: [ground, disc, square]}
data:
  source: {type: shapes, size: 64}
  crop: 64
model:
  backbone: small_cnn
  decoder: {type: fcn, strides: [16, 8]}
"""


def problems(folder: Path, text: str = STREETS, *overrides: str) -> list[str]:
    file = folder / "streets.yaml"
    file.write_text(text)
    with pytest.raises(tfseg.SpecError) as caught:
        check(file, overrides)
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


@pytest.mark.parametrize("file", shipped(), ids=lambda file: file.stem)
def test_shipped_pipelines_load_and_round_trip(file: Path, tmp_path: Path) -> None:
    pipeline = load(file)
    assert pipeline.name == file.stem
    again = tmp_path / "again.yaml"
    again.write_text(dump(pipeline))
    assert load(again) == pipeline


@pytest.mark.parametrize("file", shipped(), ids=lambda file: file.stem)
def test_headers_of_shipped_pipelines_have_all_entries(file: Path) -> None:
    header = [line for line in file.read_text().splitlines() if line.startswith("#")]
    words = [line[1:].split()[0] for line in header if line[1:].split()]
    assert {"command", "paper", "cost", "expected", "measured"} <= set(words)
    assert any(f"tfseg fit {file.stem}" in line for line in header)


def test_bare_name_loads_shipped_pipeline_unless_file_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load("shapes").name == "shapes"
    monkeypatch.chdir(tmp_path)
    Path("shapes").write_text(STREETS)
    assert load("shapes").name == "streets"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("fcn_mobilenet_v2_camvd", " Did you mean fcn_mobilenet_v2_camvid?"),
        ("unet", " Did you mean unet_camvid?"),
        ("qqq", ""),
    ],
)
def test_unknown_bare_name(name: str, hint: str) -> None:
    with pytest.raises(tfseg.SpecError) as caught:
        load(name)
    assert str(caught.value) == f"{name}: neither a file nor a shipped pipeline; `tfseg list` lists them.{hint}"


def test_number_of_class_weights(tmp_path: Path) -> None:
    override = "training.loss={type: cross_entropy, class_weights: [1.0, 2.0]}"
    assert problems(tmp_path, STREETS, override) == [
        f'override "{override}": training.loss.class_weights: expected 3 weights, one per class. Received: 2'
    ]


def test_crop_that_does_not_match_the_output_stride(tmp_path: Path) -> None:
    assert problems(tmp_path, STREETS.replace("crop: 64", "crop: [60, 64]")) == [
        "streets.yaml:5: data.crop: with output stride 16, height and width must be a multiple of 16. Nearest: "
        "48 or 64 for 60. Received: [60, 64]"
    ]


def test_unknown_split(tmp_path: Path) -> None:
    assert problems(tmp_path, STREETS.replace("crop: 64", "train_split: trian")) == [
        'streets.yaml:5: data.train_split: no split "trian"; expected one of: train, val, test; did you mean "train"?'
    ]


def test_different_channels_of_network_and_images(tmp_path: Path) -> None:
    assert problems(tmp_path, STREETS, "model.channels=1") == [
        'override "model.channels=1": model.channels: the images of the source shapes have 3 channels. Received: 1'
    ]


def test_samples_of_a_deterministic_network(tmp_path: Path) -> None:
    assert problems(tmp_path, STREETS, "inference.samples=8") == [
        'override "inference.samples=8": inference.samples: the network has no mc_dropout, so that all passes would '
        "be equal; set samples to null. Received: 8"
    ]
    graph = "{type: graph, layers: [{name: a, layer: mc_dropout, rate: 0.5}, {name: b, layer: conv, filters: 2, "
    graph += "kernel_size: 1}]}"
    file = tmp_path / "streets.yaml"
    for layers in (graph, graph.replace("0.5", "0.5, always_on: false")):
        overrides = (f"model={layers}", f"model.layers.1.filters={len(load(file).labels.names)}")
        pipeline = load(file, [*overrides, "inference.samples=8"])
        sampled = "always_on" not in layers
        assert bool(list(pipeline.network_problems(pipeline.build()))) != sampled


def test_strides_missing_in_the_backbone(tmp_path: Path) -> None:
    assert problems(tmp_path, STREETS, "model.decoder.strides=[32, 16]") == [
        'override "model.decoder.strides=[32, 16]": model.decoder.strides: small_cnn with output stride 16 has strides '
        "2, 4, 8, 16, not 32. Received: [32, 16]"
    ]


def test_plugins_are_imported_only_if_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_decoders.py").write_text(
        "import keras\n"
        "from typing import Literal\n"
        "from tfseg.spec.declare import spec\n"
        "@spec\n"
        "class Plain:\n"
        "    type: Literal['plain'] = 'plain'\n"
        "    head = 'resize'\n"
        "    def __call__(self, features, image, classes):\n"
        "        return keras.layers.Conv2D(classes, 1, name='score')(features.deepest.tensor)\n"
        "COMPONENTS = {'decoder': [Plain]}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = STREETS.replace("{type: fcn, strides: [16, 8]}", "plain") + "plugins: [own_decoders]\n"
    (found,) = problems(tmp_path, text)
    assert found == (
        "streets.yaml:9: plugins: importing these modules runs their code. Allow it with --allow-plugins, in Python "
        "with allow_plugins=True. Received: own_decoders"
    )
    overrides = ["data.source={type: shapes, size: 64, train: 4, val: 2}", "data.batch_size=4", "training.epochs=1"]
    pipeline = load(tmp_path / "streets.yaml", overrides, allow_plugins=True)
    assert pipeline.build().get_layer("score").filters == 3
    assert tfseg.fit(pipeline, tmp_path / "run", verbose=False).metrics["val"]["images"] == 2


def test_patterns_without_a_match_are_reported_before_training(tmp_path: Path) -> None:
    file = tmp_path / "streets.yaml"
    file.write_text(STREETS)
    with pytest.raises(tfseg.TfsegError) as caught:
        load(file, ["training.freeze=[fc8]", "training.optimizer.lr_multipliers={fc8/: 10}"]).describe()
    assert str(caught.value) == (
        "training.freeze: matches none of the 45 layer names of the network (image, grid, normalize, …, resize, "
        "crop, logits). Received: fc8\n"
        "training.optimizer.lr_multipliers.fc8/: matches none of the 54 variable paths of the network "
        "(stage1_down/kernel, stage1_down_bn/gamma, stage1_down_bn/beta, …, score_fr/bias, score_stage3/kernel, "
        "score_stage3/bias). Received: fc8/"
    )
    assert caught.value.exit_code == 2
    [message] = problems(tmp_path, STREETS, "training.freeze=[fc8]")
    assert message.startswith('override "training.freeze=[fc8]": training.freeze: matches none of the 45 layer names')


def test_run_directory_instead_of_file(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text(STREETS)
    with pytest.raises(tfseg.SpecError) as caught:
        load(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: is a run directory: continue with `tfseg fit {tmp_path} --resume`, or use its file "
        f"{tmp_path}/pipeline.yaml"
    )


def test_groups_of_the_decoder_are_reported_at_their_line(tmp_path: Path) -> None:
    [message] = problems(tmp_path, STREETS, "model.norm={type: group, groups: 4}", "model.decoder.filters=6")
    assert message.startswith(
        'override "model.norm={type: group, groups: 4}": model.norm.groups: must divide the number of channels'
    )

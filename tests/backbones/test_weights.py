"""Weight files of backbones: matching layers, mismatches, and errors that leave the model unchanged."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tfseg.backbones import MobileNetV2, SmallCnn, Vgg16
from tfseg.errors import WeightsError


def built(backbone) -> keras.Model:
    image = keras.Input((None, None, 3), name="image")
    return keras.Model(image, backbone(image).deepest.tensor)


def arrays(model: keras.Model) -> dict[str, np.ndarray]:
    return {f"{layer.name}/{variable.name}": np.array(variable) for layer in model.layers for variable in layer.weights}


SMALL = SmallCnn(filters=1)


@pytest.fixture
def model() -> keras.Model:
    return built(SMALL)


def load_error(backbone, model: keras.Model) -> str:
    before = [np.array(variable) for variable in model.weights]
    with pytest.raises(WeightsError) as error:
        backbone.load_weights(model)
    assert all(np.array_equal(old, variable) for old, variable in zip(before, model.weights, strict=True))
    return str(error.value)


@pytest.mark.parametrize("backbone", [SMALL, MobileNetV2(), Vgg16()])
def test_no_weights_are_loaded_by_default(backbone) -> None:
    assert backbone.load_weights(keras.Sequential()) is None


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("suffix", [".npz", ".keras"])
@pytest.mark.parametrize("make", [SmallCnn, Vgg16, MobileNetV2])
def test_weights_round_trip(make, suffix: str, tmp_path: Path) -> None:
    small = {"filters": 1} if make is SmallCnn else {"width_multiplier": 0.1 if make is MobileNetV2 else 0.01}
    source, target, path = built(make(**small)), built(make(**small)), tmp_path / f"weights{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays(source))
    else:
        source.save(path)
    report = make(**small, weights=path).load_weights(target)
    assert set(report.filled) == {layer.name for layer in source.layers if layer.weights}
    assert (report.initial, report.unused, report.folded) == ((), (), ())
    image = np.random.default_rng(0).uniform(0, 255, (1, 40, 40, 3)).astype(np.float32)
    np.testing.assert_array_equal(source(image), target(image))


def test_layers_of_another_shape_are_reported(model: keras.Model, tmp_path: Path) -> None:
    image = keras.Input((None, None, 3), name="image")
    score = keras.layers.Conv2D(2, 1, name="score")
    target = keras.Model(image, score(SMALL(image).deepest.tensor))
    path = tmp_path / "weights.npz"
    np.savez(path, **arrays(model), **{"score/kernel": np.ones((1, 1, 8, 5)), "score/bias": np.ones(5)})
    report = SmallCnn(filters=1, weights=path).load_weights(target)
    assert (len(report.filled), report.initial, report.unused) == (20, ("score",), ("score/kernel", "score/bias"))
    assert str(report) == (
        f"{path}: the network's own names\n  filled     20 of 21 layers with weights\n"
        "  initial    score\n  left over  score"
    )


def test_missing_layers(model: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    np.savez(path, **{name: array for name, array in arrays(model).items() if not name.startswith("stage1")})
    assert load_error(SmallCnn(filters=1, weights=path), model) == (
        f"{path}, read with the network's own names, does not fill 4 of the 20 layers with weights of the network:\n"
        "  stage1_down: not in the file; expected stage1_down/kernel\n"
        "  stage1_down_bn: not in the file; expected stage1_down_bn/gamma\n"
        "  stage1_mix: not in the file; expected stage1_mix/kernel\n"
        "  stage1_mix_bn: not in the file; expected stage1_mix_bn/gamma\n"
        "  left over in the file: none\n"
        "  Nothing was changed. Use weights of this backbone, or start from random weights."
    )


def test_other_shapes(model: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    np.savez(path, **arrays(built(SmallCnn(filters=2))))
    assert load_error(SmallCnn(filters=1, weights=path), model).startswith(
        f"{path}, read with the network's own names, does not fill 20 of the 20 layers with weights of the network:\n"
        "  stage1_down: stage1_down/kernel has shape (3, 3, 3, 2) in the file, "
        "but kernel has shape (3, 3, 3, 1) in the network\n"
    )


@pytest.mark.parametrize("backbone", [SmallCnn, MobileNetV2, Vgg16])
@pytest.mark.parametrize("suffix", [".npz", ".keras", ".h5"])
def test_a_missing_file(backbone, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"none{suffix}"
    assert load_error(backbone(weights=path), keras.Sequential()) == (
        f"{path}: no such weight file. "
        "Set model.backbone.weights to a file that exists, or to null to start from random weights."
    )


@pytest.mark.parametrize("name", ["weights.pt", "weights", "weights.h5"])
def test_a_file_of_another_kind(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    assert load_error(SmallCnn(weights=path), keras.Sequential()) == (
        f"{path}: unsupported kind of weight file. Expected an .npz of named arrays, a .tflite file, a .keras "
        "model, or a TensorFlow checkpoint: its prefix, as in run/model.ckpt-30000, its .index file, or its directory."
    )


@pytest.mark.parametrize("suffix", [".npz", ".keras", ".tflite"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"text"])
def test_a_damaged_file(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    text = load_error(SmallCnn(weights=path), keras.Sequential())
    assert text.startswith(f"{path}: cannot be read as weights: ")
    assert text.endswith(". Download or create it again.")


def test_damaged_compressed_arrays(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    np.savez_compressed(path, **{"layer/kernel": np.random.default_rng(0).normal(size=1000)})
    whole = path.read_bytes()
    for start in range(60, 600, 30):
        path.write_bytes(whole[:start] + bytes(8) + whole[start + 8 :])
        assert load_error(SmallCnn(weights=path), keras.Sequential()).startswith(f"{path}: cannot be read as weights: ")

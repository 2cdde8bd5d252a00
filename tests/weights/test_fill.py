"""Mismatches between files and networks, and weight files that cannot be read."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.weights.foreign import built, save_checkpoint
from tests.weights.test_slim import MOBILE, mobilenet_v2
from tfseg.backbones import SmallCnn
from tfseg.errors import WeightsError
from tfseg.models import Norm, Segmenter
from tfseg.models.decoders import Fcn
from tfseg.weights import WeightsReport, fill, read_arrays
from tfseg.weights.modules import Modules

SMALL = Segmenter(backbone=SmallCnn(filters=1), decoder=Fcn(strides=(16,)))


def fill_error(model: keras.Model, arrays: dict[str, np.ndarray], **arguments: object) -> str:
    before = model.get_weights()
    with pytest.raises(WeightsError) as error:
        fill(model, arrays, "a file", **arguments)  # type: ignore[arg-type]
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))
    return str(error.value)


def own(model: keras.Model) -> dict[str, np.ndarray]:
    return {each.path: np.array(each) for each in model.weights}


def test_another_number_of_classes() -> None:
    model, backbone = built(MOBILE, 5)
    assert fill_error(model, mobilenet_v2(classes=3).arrays, required=backbone, classes=5) == (
        "a file, read with TF-slim names, does not fill 1 of the 109 layers with weights of the network:\n"
        "  score: the file has 3 classes (logits/semantic/weights), but the pipeline has 5 labels\n"
        "  left over in the file: none\n"
        "  Nothing was written. Use weights of this network, or change the pipeline to match the file."
    )


def test_missing_arrays_are_reported_with_their_expected_names() -> None:
    model, backbone = built(MOBILE)
    arrays = mobilenet_v2().arrays
    del arrays["MobilenetV2/expanded_conv_3/expand/weights"], arrays["MobilenetV2/Conv/BatchNorm/gamma"]
    arrays["MobilenetV2/Conv_1/weights"] = np.zeros((1, 1, 40, 80), np.float32)
    assert fill_error(model, arrays, required=backbone) == (
        "a file, read with TF-slim names, does not fill 2 of the 109 layers with weights of the network:\n"
        "  bn_Conv1: not in the file; expected MobilenetV2/Conv/BatchNorm/gamma\n"
        "  block_3_expand: not in the file; expected MobilenetV2/expanded_conv_3/expand/weights or "
        "MobilenetV2/expanded_conv_3/expand/depthwise_weights or MobilenetV2/expanded_conv_3/expand/kernel\n"
        "  left over in the file: MobilenetV2/Conv_1\n"
        "  Nothing was written. Use weights of this network, or change the pipeline to match the file."
    )


def test_other_shapes() -> None:
    model, backbone = built(SMALL)
    arrays = own(built(Segmenter(backbone=SmallCnn(filters=2), decoder=Fcn(strides=(16,))))[0])
    text = fill_error(model, arrays, required=backbone)
    assert text.startswith(
        "a file, read with the network's own names, does not fill 21 of the 21 layers with weights of the network:\n"
        "  stage1_down: stage1_down/kernel has shape (3, 3, 3, 2) in the file, "
        "but kernel has shape (3, 3, 3, 1) in the network\n"
    )
    assert "\n  … and 13 more\n" in text


def test_without_required_layers_every_layer_must_be_filled() -> None:
    model, _ = built(SMALL)
    arrays = own(model)
    del arrays["score_fr/bias"]
    assert "score_fr: not in the file; expected score_fr/bias" in fill_error(model, arrays)


def test_layers_without_a_counterpart_keep_their_initial_weights() -> None:
    model, backbone = built(Segmenter(backbone=MOBILE.backbone, decoder=Fcn(strides=(16,))))
    report = fill(model, mobilenet_v2().arrays, "a file", required=backbone)
    assert report.initial == ("score_fr",)
    assert str(report) == (
        "a file: TF-slim names\n  filled     102 of 103 layers with weights\n  initial    score_fr\n"
        "  left over  concat_projection, concat_projection/BatchNorm, logits/semantic, image_pooling, "
        "image_pooling/BatchNorm, aspp0 … and 1 more"
    )


def test_a_bias_before_batch_norm_is_absorbed_by_its_mean() -> None:
    model, backbone = built(SMALL)
    arrays = own(model) | {"stage1_down/bias": np.full(1, 0.25, np.float32)}
    before = arrays["stage1_down_bn/moving_mean"]
    report = fill(model, arrays, "a file", required=backbone)
    assert (report.folded, report.unused) == ((), ())
    np.testing.assert_array_equal(model.get_layer("stage1_down_bn").moving_mean, before - 0.25)


@pytest.mark.slow
def test_own_names_round_trip_through_a_model_file(tmp_path: Path) -> None:
    model, backbone = built(MOBILE)
    fill(model, mobilenet_v2().arrays, "a file", required=backbone)
    model.save(tmp_path / "model.keras")
    again, _ = built(MOBILE)
    report = fill(again, read_arrays(tmp_path / "model.keras"), "model.keras", required=backbone)
    assert (report.initial, report.unused) == ((), ())
    for first, second in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_every_batch_norm_is_matched_to_its_convolution() -> None:
    modules = Modules.of(built(MOBILE)[0])
    norms = [name for name, own in modules.variables.items() if "moving_mean" in own]
    assert sorted(modules.norms) == sorted(norms)
    assert modules.norms["bn_Conv1"] == "Conv1" and modules.norms["aspp/pooling_norm"] == "aspp/pooling"


def test_a_short_report() -> None:
    assert str(WeightsReport("a file", "TF-slim names", ("conv",))) == (
        "a file: TF-slim names\n  filled     1 of 1 layers with weights\n  initial    none\n  left over  none"
    )


# Files.

EXPECTED = (
    "Expected an .npz of named arrays, a .tflite file, a .keras model, or a TensorFlow checkpoint: its prefix, as in "
    "run/model.ckpt-30000, its .index file, or its directory."
)


def test_checkpoint_paths_can_be_prefix_index_or_directory(tmp_path: Path) -> None:
    prefix = save_checkpoint(tmp_path / "model.ckpt-7", {"a/weights": np.ones(3, np.float32)})
    for path in (prefix, Path(f"{prefix}.index"), tmp_path):
        assert list(read_arrays(path)) == ["a/weights"]
    save_checkpoint(tmp_path / "model.ckpt-8", {"b/weights": np.ones(3, np.float32)})
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-8"\n')
    assert list(read_arrays(tmp_path)) == ["b/weights"]


def test_missing_and_unsupported_files(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"")
    for name, what in (
        ("none.npz", "no such weight file"),
        ("weights.pt", "unsupported kind of weight file"),
        ("", "unsupported kind of weight file"),
    ):
        path = tmp_path / name
        with pytest.raises(WeightsError) as error:
            read_arrays(path)
        assert str(error.value) == f"{path}: {what}. {EXPECTED}"


@pytest.mark.parametrize("name", ["a.npz", "a.keras", "a.tflite", "a.index"])
def test_a_damaged_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"cut short")
    with pytest.raises(WeightsError) as error:
        read_arrays(path)
    assert str(error.value).startswith(f"{path}: cannot be read as weights: ")
    assert str(error.value).endswith(". Download or create it again.")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda kernel: kernel * np.nan, "stage1_down/kernel contains values that are not finite in float32"),
        (lambda kernel: kernel.astype(np.float64) + 1e300, "stage1_down/kernel contains values that are not finite"),
        (
            lambda kernel: kernel.astype(np.int8),
            "stage1_down/kernel has dtype int8; weights must be floating-point numbers",
        ),
        (lambda kernel: kernel.astype(np.complex64), "stage1_down/kernel has dtype complex64; weights must be"),
    ],
)
def test_invalid_values(change: Callable[[np.ndarray], np.ndarray], message: str) -> None:
    model, backbone = built(SMALL)
    arrays = own(model)
    arrays["stage1_down/kernel"] = change(arrays["stage1_down/kernel"])
    assert message in fill_error(model, arrays, required=backbone)


def test_negative_variances() -> None:
    model, _ = built(SMALL)
    arrays = own(model)
    arrays["stage1_down_bn/moving_variance"] *= -1
    assert "stage1_down_bn/moving_variance contains negative variances" in fill_error(model, arrays)


def test_files_with_another_normalization() -> None:
    """Names and shapes of gamma are the same, but the normalization differs."""
    grouped, _ = built(
        Segmenter(backbone=SmallCnn(filters=4), decoder=Fcn(strides=(16,)), norm=Norm(type="group", groups=1))
    )
    batch, _ = built(Segmenter(backbone=SmallCnn(filters=4), decoder=Fcn(strides=(16,))))
    assert "stage1_down_bn: the file has batch normalization, but the network does not" in fill_error(
        grouped, own(batch)
    )
    assert fill(grouped, own(grouped), "a file").initial == ()

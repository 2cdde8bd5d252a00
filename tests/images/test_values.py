"""Mapping of image values to 0..255, and their fields in labels.json."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfseg.errors import DataError, RunError
from tfseg.images import EIGHT_BITS, ImageValues
from tfseg.images.values import range_problem, read_values, values_fields
from tfseg.labels import Labels, labels_text, read_labels

LABELS = Labels(names=("ground", "disc"))


@pytest.mark.parametrize(
    ("values", "given", "expected"),
    [
        (ImageValues("uint16", (0, 51000)), [0, 200, 1000, 51000, 65535], [0, 1, 5, 255, 255]),
        (ImageValues("int16", (-100, 410)), [-32768, -100, -98, 155, 410], [0, 0, 1, 127.5, 255]),
        (ImageValues("float32", (-1, 1)), [-np.inf, -1, 0, 1, np.inf], [0, 0, 127.5, 255, 255]),
        (ImageValues("float64", (0.25, 0.75)), [0, 0.375, 0.75], [0, 63.75, 255]),
        (EIGHT_BITS, [0, 3, 255], [0, 3, 255]),
    ],
)
def test_mapping_by_hand(values: ImageValues, given: list[float], expected: list[float]) -> None:
    image = np.array(given).astype(values.dtype)
    mapped = values.array(image)
    assert (mapped.dtype, mapped.tolist()) == (np.float32, expected)
    assert values.mapped(tf.constant(image)).numpy().tolist() == expected
    assert values.shown(image).tolist() == np.rint(expected).tolist()


@pytest.mark.parametrize("value_range", [(0.0, 65535.0), (13.0, 4711.0), (-0.3, 0.7)])
def test_arrays_tensors_and_graphs_map_to_the_same_bits(value_range: tuple[float, float]) -> None:
    values = ImageValues("uint16", value_range)
    image = np.arange(65536, dtype=np.uint16)
    graph = next(iter(tf.data.Dataset.from_tensors(image).map(values.mapped)))
    double = np.clip((image - value_range[0]) * 255 / (value_range[1] - value_range[0]), 0, 255)
    np.testing.assert_array_equal(values.array(image), values.mapped(tf.constant(image)))
    np.testing.assert_array_equal(values.array(image), graph)
    np.testing.assert_allclose(values.array(image), double, rtol=3e-7, atol=2e-5)


def test_unmapped_images_map_to_the_same_values() -> None:
    image = np.arange(256, dtype=np.uint8)
    for values in (ImageValues("uint16", (100, 51100)), ImageValues("float32", (-3, 5)), EIGHT_BITS):
        native = values.unmapped(image)
        assert native.dtype == values.dtype
        np.testing.assert_allclose(values.array(native), image, atol=1e-4)


@pytest.mark.parametrize("limits", [(-1e30, 1e30), (0.0, 1e-30), (1e30 - 1e15, 1e30), (-1e30, 1e-30)])
def test_extreme_ranges_map_to_numbers(limits: tuple[float, float]) -> None:
    values = ImageValues("float32", limits)
    image = np.array([-np.inf, -3e38, *limits, 0, 3e38, np.inf], np.float32)
    assert range_problem(*limits) == ""
    for mapped in (values.array(image), values.mapped(tf.constant(image)).numpy()):
        assert ((mapped >= 0) & (mapped <= 255)).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (ImageValues("uint8", (0, 1000)), [0, 255, 255]),
        (ImageValues("uint8", (-1000, 100)), [0, 0, 100]),
        (ImageValues("int32", (-1e12, 1e12)), [-(2**31), 2**31 - 1, 2**31 - 1]),
        (ImageValues("float16", (0, 1e6)), [0, 65504, 65504]),
    ],
)
def test_unmapped_images_are_clipped_to_the_dtype(values: ImageValues, expected: list[float]) -> None:
    found = values.unmapped(np.array([0, 128, 255], np.uint8))
    assert found.dtype == values.dtype
    assert found.tolist() == expected


def test_cast_refuses_values_outside_of_the_dtype() -> None:
    values = ImageValues("uint8", (0, 100))
    assert values.cast(np.array([3, 255], np.float32), "a").dtype == np.uint8
    for wrong in (256, -1, 0.5):
        with pytest.raises(DataError) as error:
            values.cast(np.array([wrong], np.float32), "train/a")
        assert str(error.value) == (
            "train/a: has values that uint8 does not contain. Expected uint8, the dtype of the first training image: "
            "convert all images to one dtype, and train again if it was another one."
        )


def test_labels_file_contains_the_values_of_deeper_images_only() -> None:
    plain = labels_text(LABELS, values_fields(EIGHT_BITS))
    assert plain == labels_text(LABELS) and sorted(json.loads(plain)) == ["colors", "ignore", "names"]
    assert read_values(Path("labels.json"), plain.encode()) == EIGHT_BITS
    values = ImageValues("int16", (-5.0, 5.5))
    text = labels_text(LABELS, values_fields(values)).encode()
    assert read_values(Path("labels.json"), text) == values
    assert read_labels(Path("labels.json"), text).names == LABELS.names


@pytest.mark.parametrize(
    "fields",
    [
        {"dtype": "uint16"},
        {"value_range": [0, 1]},
        {"dtype": "int64", "value_range": [0, 1]},
        {"dtype": "uint16", "value_range": [1, 1]},
        {"dtype": "uint16", "value_range": [0, "1"]},
        {"dtype": ["uint16"], "value_range": [0, 1, 2]},
        {"dtype": "uint16", "value_range": [0, 10**400]},
        {"dtype": "uint16", "value_range": [0.5, 10**400]},
        {"dtype": "uint16", "value_range": [-(10**400), 0.5]},
        {"dtype": "float32", "value_range": [float("-inf"), 5]},
        {"dtype": "float32", "value_range": [0, float("inf")]},
        {"dtype": "float32", "value_range": [float("nan"), 5]},
        {"dtype": "float32", "value_range": [0, 1e-300]},
        {"dtype": "float32", "value_range": [-1e308, 1e308]},
    ],
)
def test_invalid_values_in_a_labels_file(fields: dict[str, object]) -> None:
    with pytest.raises(RunError, match="is not a valid labels file"):
        read_values(Path("labels.json"), b"[")
    with pytest.raises(RunError) as error:
        read_values(Path("run/labels.json"), json.dumps({"names": ["a", "b"], **fields}).encode())
    assert str(error.value) == (
        "run/labels.json: `dtype` and `value_range` are invalid. Expected one of uint8, int16, uint16, int32, float16, "
        "float32, float64, and two increasing numbers of up to 1e+30 that differ by at least 1e-30, as `tfseg fit` "
        f"writes them. Received: {fields.get('dtype')!r} and {repr(fields.get('value_range'))[:100]}"
    )

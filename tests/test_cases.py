"""Runs every check of `checks.py` on every case of `cases.py`, and checks that every public name has a case."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest

from tests import checks
from tests.cases import ALL, LAYERS, LOSSES, METRICS, SPECS
from tests.processes import ProcessResults
from tfseg import layers, losses, metrics
from tfseg.pipeline import Pipeline


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> ProcessResults:
    """Results of the saved cases in other processes."""
    return ProcessResults(tmp_path_factory.mktemp("cases"))


def of(cases: list[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


COMPOSITES = [case for case in LAYERS if case.composite]


@of(LAYERS)
def test_layer_config(case: checks.LayerCase) -> None:
    checks.check_layer_config(case)


@of(LAYERS)
def test_layer_numbers(case: checks.LayerCase) -> None:
    checks.check_layer_numbers(case)


@of(LAYERS)
def test_layer_dynamic(case: checks.LayerCase) -> None:
    checks.check_layer_dynamic(case)


@of(LAYERS)
def test_layer_gradient(case: checks.LayerCase) -> None:
    checks.check_layer_gradient(case)


@of(COMPOSITES)
def test_weights_of_layers_inside_are_saved(case: checks.LayerCase, tmp_path: Path) -> None:
    checks.check_layer_weights(case, tmp_path)


@of(COMPOSITES)
def test_trainable_of_layers_inside_is_saved(case: checks.LayerCase, tmp_path: Path) -> None:
    checks.check_layer_trainable(case, tmp_path)


@of(COMPOSITES)
def test_frozen_layer_does_not_change(case: checks.LayerCase, tmp_path: Path) -> None:
    checks.check_layer_frozen(case, tmp_path)


@of(LAYERS)
def test_layer_half(case: checks.LayerCase) -> None:
    checks.check_layer_half(case)


@of(LAYERS)
def test_layer_tflite(case: checks.LayerCase) -> None:
    checks.check_layer_tflite(case)


@of(LAYERS)
def test_layer_loads_in_a_new_process(case: checks.LayerCase, results: ProcessResults) -> None:
    checks.close(results.keras(case), results.expected(case), 1e-6)


@of(LAYERS)
def test_layer_is_served_without_tfseg(case: checks.LayerCase, results: ProcessResults) -> None:
    checks.close(results.saved_model(case), results.expected(case), 1e-6)


@pytest.mark.extra
@of(LAYERS)
@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_layer_without_tensorflow(case: checks.LayerCase, results: ProcessResults, backend: str) -> None:
    if "neutral" not in case.unlike:
        pytest.importorskip("jax", reason="Keras computes with JAX in both of these backends")
        checks.close(results.backend(case, backend), results.expected(case), 1e-5)


@of(LOSSES)
def test_loss_config(case: checks.LossCase) -> None:
    checks.check_loss_config(case)


@of(LOSSES)
def test_loss_numbers(case: checks.LossCase) -> None:
    checks.check_loss_numbers(case)


@of(LOSSES)
def test_loss_ignores(case: checks.LossCase) -> None:
    checks.check_loss_ignores(case)


@of(METRICS)
def test_metric_config(case: checks.MetricCase) -> None:
    checks.check_metric_config(case)


@of(METRICS)
def test_metric_numbers(case: checks.MetricCase) -> None:
    checks.check_metric_numbers(case)


@of([*LOSSES, *METRICS])
def test_loss_or_metric_loads_in_a_new_process(
    case: checks.LossCase | checks.MetricCase, results: ProcessResults
) -> None:
    assert results.value(case) == pytest.approx(results.expected_value(case), abs=1e-6)


@pytest.mark.extra
@of([*LOSSES, *METRICS])
@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_loss_or_metric_without_tensorflow(
    case: checks.LossCase | checks.MetricCase, results: ProcessResults, backend: str
) -> None:
    pytest.importorskip("jax", reason="Keras computes with JAX in both of these backends")
    assert results.value(case, backend) == pytest.approx(results.expected_value(case), rel=1e-6, abs=1e-6)


@of(SPECS)
def test_spec_value(case: checks.SpecCase) -> None:
    checks.check_spec_value(case)


@of(SPECS)
def test_spec_file(case: checks.SpecCase, tmp_path: Path) -> None:
    checks.check_spec_file(case, tmp_path)


@of(SPECS)
def test_spec_fields(case: checks.SpecCase) -> None:
    checks.check_spec_fields(case)


@of([case for case in SPECS if case.elsewhere])
def test_spec_fields_with_a_test_of_their_own(case: checks.SpecCase) -> None:
    tests = "\n".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.rglob("test_*.py"))
    assert not [test for test in case.elsewhere.values() if f"def {test}(" not in tests]


def public(module: Any, kind: type) -> set[type]:
    named = (getattr(module, name) for name in module.__all__)
    return {each for each in named if inspect.isclass(each) and issubclass(each, kind)}


def test_every_public_name_has_a_case() -> None:
    expected = public(layers, keras.layers.Layer) | public(losses, keras.losses.Loss)
    expected |= public(metrics, keras.metrics.Metric) | {Pipeline} | checks.slot_members(Pipeline)
    covered = {case.layer for case in LAYERS} | {case.loss for case in LOSSES} | {case.metric for case in METRICS}
    covered |= {type(case.value) for case in SPECS}
    assert sorted(each.__name__ for each in expected - covered) == []


def test_registered_names_are_public() -> None:
    """Checks that every class in a saved file is in `tfseg.layers`, `tfseg.losses` or `tfseg.metrics`."""
    registered = {
        value
        for name, value in keras.saving.get_custom_objects().items()
        if name.startswith("tfseg>") and value.__module__.split(".")[1] in ("layers", "losses", "metrics")
    }
    assert registered == {case.layer for case in LAYERS} | {case.loss for case in LOSSES} | {
        case.metric for case in METRICS
    }


def test_names_of_cases_are_unique() -> None:
    names = [case.name for case in ALL]
    assert len(set(names)) == len(names)

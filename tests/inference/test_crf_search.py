"""Search for CRF parameters, with cheap scores."""

import pytest

from tfseg.inference.crf_search import DEEPLAB, HALVINGS, SWEEPS, Steps, max_settings, search


@pytest.mark.parametrize(
    ("steps", "values"),
    [
        (Steps(3, 3, 0), [3]),
        (Steps(3, 6, 1), [3, 4, 5, 6]),
        (Steps(0.1, 0.3, 0.1), [0.1, 0.2, 0.3]),
        (Steps(1, 4, 2), [1, 3]),
    ],
)
def test_values_of_a_range(steps: Steps, values: list[float]) -> None:
    assert steps.values() == values


def test_max_settings() -> None:
    """A parameter with five values contributes four values and, in later rounds, two neighbors per sweep."""
    ranges = {"a": Steps(0, 8, 2), "b": Steps(1, 1, 0)}
    assert max_settings(ranges) == 1 + SWEEPS * (4 + HALVINGS * 2)
    assert max_settings(DEEPLAB) == 1 + SWEEPS * (7 + 3 + 3 + HALVINGS * 2 * 3)


def test_settings_are_unique_and_at_most_max_settings() -> None:
    tried = []

    def score(setting: dict[str, float]) -> float:
        tried.append(tuple(setting.values()))
        return -abs(setting["theta_alpha"] - 63) - abs(setting["theta_beta"] - 4.3) - setting["bilateral_weight"]

    found = search(score, DEEPLAB)
    assert len(tried) == len(set(tried)) <= max_settings(DEEPLAB)
    assert found["theta_alpha"] == pytest.approx(63, abs=10 / 2**HALVINGS)
    assert found["theta_beta"] == pytest.approx(4.3, abs=1 / 2**HALVINGS)
    assert (found["spatial_weight"], found["theta_gamma"]) == (3, 3)

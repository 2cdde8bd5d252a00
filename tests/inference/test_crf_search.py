"""The search for CRF parameters, of scores that cost nothing."""

import pytest

from tfseg.inference.crf_search import DEEPLAB, HALVINGS, SWEEPS, Steps, most, search


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


def test_how_many_settings_may_be_tried() -> None:
    """Of five values of one parameter: the middle, four others in each sweep, two neighbors in each later round."""
    ranges = {"a": Steps(0, 8, 2), "b": Steps(1, 1, 0)}
    assert most(ranges) == 1 + SWEEPS * (4 + HALVINGS * 2)
    assert most(DEEPLAB) == 1 + SWEEPS * (7 + 3 + 3 + HALVINGS * 2 * 3)


def test_no_setting_is_tried_twice_or_beyond_the_limit() -> None:
    tried = []

    def score(setting: dict[str, float]) -> float:
        tried.append(tuple(setting.values()))
        return -abs(setting["theta_alpha"] - 63) - abs(setting["theta_beta"] - 4.3) - setting["bilateral_weight"]

    found = search(score, DEEPLAB)
    assert len(tried) == len(set(tried)) <= most(DEEPLAB)
    assert found["theta_alpha"] == pytest.approx(63, abs=10 / 2**HALVINGS)
    assert found["theta_beta"] == pytest.approx(4.3, abs=1 / 2**HALVINGS)
    assert (found["spatial_weight"], found["theta_gamma"]) == (3, 3)

"""Values and gradients of all losses do not depend on the number of devices that share a batch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.losses.test_all import LOSSES


@pytest.fixture(scope="module", params=[2, 4])
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Computes all losses in a process of their own, because logical devices can be set only once."""
    script, output = Path(__file__).with_name("devices.py"), tmp_path_factory.mktemp("devices") / "results.json"
    environment = {**os.environ, "PYTHONPATH": str(script.parents[2]), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, script, output, str(request.param)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return dict(json.loads(output.read_text()))


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_on_several_devices(name: str, results: dict[str, list[Any]]) -> None:
    (value, gradient), (other, moved) = results[name]
    assert np.abs(gradient).max() > 1e-3
    assert other == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(moved, gradient, atol=1e-5 * np.abs(gradient).max())

"""Training with `strategy: mirrored` on two logical CPU devices, against one device."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


def computed(folder, *cases):
    """Runs cases in a process of their own, because logical devices can be set only once."""
    script, output = Path(__file__).with_name("two_devices.py"), folder / "results.json"
    environment = {**os.environ, "PYTHONPATH": str(script.parents[2]), "TF_CPP_MIN_LOG_LEVEL": "3"}
    finished = subprocess.run(
        [sys.executable, script, output, *cases], capture_output=True, text=True, check=False, env=environment
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return json.loads(output.read_text())


STEPS = ("global_clipnorm",)
"""Cases with clipping and moving averages; replicas have very different gradients."""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return computed(tmp_path_factory.mktemp("mirrored"), "sgd", "outputs", "sum of losses", *STEPS, "not finite")


@pytest.mark.parametrize("case", ["sgd", "outputs", "sum of losses", *STEPS])
def test_two_devices_match_one(results, case):
    assert_match(results[case], 1e-5)


@pytest.mark.slow
def test_two_devices_match_one_with_other_recipes(tmp_path):
    cases = ("adamw", "sum", "top k", "clipnorm", "clipvalue", "keras", "mixed_float16")
    for case, pair in computed(tmp_path, *cases).items():
        assert_match(pair, 1e-3 if case == "mixed_float16" else 1e-5)
        assert pair[1]["moved"] > 1e-3 or case == "mixed_float16"


def assert_match(pair, tolerance):
    """Ignored pixels are distributed unevenly, and the last batch is incomplete. float16 rounds differently."""
    one, two = pair
    assert (one["replicas"], two["replicas"]) == (1, 2)
    for name, values in one["history"].items():
        np.testing.assert_allclose(two["history"][name], values, atol=tolerance, err_msg=name)
    for path, values in one["weights"].items():
        np.testing.assert_allclose(two["weights"][path], values, atol=tolerance, err_msg=path)
    for mine, theirs in zip(one["optimizer"], two["optimizer"], strict=True):  # the momentum is the sum of gradients
        np.testing.assert_allclose(theirs, mine, atol=tolerance)


def test_weights_change(results):
    """Otherwise equal results would be meaningless."""
    for case in ("sgd", "outputs"):
        one, two = results[case]
        assert one["history"]["loss"][0] != one["history"]["loss"][1]
        assert two["moved"] > 1e-3


def test_nonfinite_gradient_halts_all_replicas_at_the_same_step(results):
    one, two = results["not finite"]
    assert one["halted"] == two["halted"] == 1
    assert all(np.isfinite(values).all() for path, values in two["weights"].items() if "moving" not in path)


def test_saved_network_is_not_synchronized(results):
    _, two = results["sgd"]
    assert two["synchronized"] is True
    assert two["saved_synchronized"] is False


def test_metrics_are_restored_for_any_number_of_replicas(results):
    """The confusion matrix has odd counts, which Keras would divide by the number of replicas."""
    for trained in results["sum of losses"]:
        assert trained["restored"] == [True, True]


def test_losses_of_all_outputs_are_logged(results):
    one, two = results["outputs"]
    assert {"scores_loss", "aux_side_loss", "val_scores_loss", "val_miou"} <= set(one["history"])
    assert one["history"].keys() == two["history"].keys()

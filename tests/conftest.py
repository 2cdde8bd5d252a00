"""Fixtures for all tests."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

pytest_plugins = ("tests.tiers",)
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real data, weights and golden arrays next to the project. Skips the test if there is none."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the folder of shared data next to the project ({folder.name}/)")
    return folder


@pytest.fixture(scope="session")
def one_isolated_worker() -> Iterator[None]:
    """Verifies all exports of the session in one process instead of one process each; see `tests/exports.py`."""
    exports = importlib.import_module("tests.exports")
    answers = exports.Answers()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfseg.exporting.artifacts.run_artifacts", answers)
        yield
    answers.close()


@pytest.fixture(autouse=True)
def seed() -> None:
    """Seeds all random generators before each test."""
    if "keras" in sys.modules:  # tests of specs and files need no TensorFlow
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def no_autotuning() -> None:
    """Disables autotuning of datasets of Keras and of tests. Those of tfseg are never autotuned.

    When an iterator is deleted, TensorFlow waits for its autotuning thread, which sleeps for up to a minute.
    """
    if "tensorflow" not in sys.modules:
        return
    iterators = importlib.import_module("tensorflow.python.data.ops.iterator_ops")
    create = iterators.OwnedIterator._create_iterator
    if create.__name__ == "untuned":
        return
    options = importlib.import_module("tfseg.data.reading").FIXED

    def untuned(self: Any, dataset: Any) -> Any:
        return create(self, dataset.with_options(options))

    iterators.OwnedIterator._create_iterator = untuned


@pytest.fixture(autouse=True)
def no_uninitialized_variables() -> Iterator[None]:
    """Discards the uninitialized variables that a test created in a `StatelessScope`.

    Otherwise Keras initializes them, at full width, in a later test; see `tfseg/symbolic.py`.
    """
    yield
    if "keras" in sys.modules:
        state = importlib.import_module("keras.src.backend.common.global_state")
        state.set_global_attribute("uninitialized_variables", [])

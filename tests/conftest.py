"""What every test may ask for."""

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
    """The folder of real data, weights and golden arrays beside the project, or a skip."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the folder of shared data beside the project ({folder.name}/)")
    return folder


@pytest.fixture(scope="session")
def one_isolated_worker() -> Iterator[None]:
    """Exports of the session are answered for by one process instead of one each; see `tests/exports.py`."""
    exports = importlib.import_module("tests.exports")
    answers = exports.Answers()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfseg.exporting.artifacts.run_artifacts", answers)
        yield
    answers.close()


@pytest.fixture(autouse=True)
def seed() -> None:
    """Every test starts with the same random state, whatever ran before it."""
    if "keras" in sys.modules:  # tests of specs and files do not wait for TensorFlow
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def no_autotuning() -> None:
    """Datasets that Keras or a test makes are not autotuned, as those of tfseg are not.

    When an iterator is deleted, TensorFlow waits for its tuning thread, which sleeps for up to a minute.
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
def forget() -> Iterator[None]:
    """What one test builds in a `StatelessScope`, of full width and without values, gets none in a later test.

    Keras lists such variables and would fill them at the next occasion; see `tfseg/symbolic.py`.
    """
    yield
    if "keras" in sys.modules:
        state = importlib.import_module("keras.src.backend.common.global_state")
        state.set_global_attribute("uninitialized_variables", [])

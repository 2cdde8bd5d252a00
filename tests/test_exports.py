"""Tests of the worker process of `tests/exports.py`."""

from pathlib import Path

import pytest

from tests import exports


def test_ended_process_is_reported_and_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = exports.Answers()
    for status in (3, 4):
        monkeypatch.setattr(exports, "SERVE", f"raise SystemExit({status})")
        with pytest.raises(RuntimeError, match=f"ended with status {status}"):
            answers(Path("saved_model"), None, {})
    monkeypatch.setattr(exports, "SERVE", "import pickle, sys; pickle.dump({}, sys.stdout.buffer)")
    assert answers(Path("saved_model"), None, {}) == {}
    answers.close()

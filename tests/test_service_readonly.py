"""Laws of saving where the service may not write: a problem that says so, and nothing is saved."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from review_case import Case, case, folder, template

__all__ = ["case", "folder", "template"]


def refused(case: Case) -> str:
    reply = case.post("calibrations", {"save": True})
    assert reply.status_code == 503, reply.text
    detail: str = reply.json()["detail"]
    assert str(case.settings.corpus.parent) not in detail
    return detail


def deny(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, denied: str) -> None:
    """Let a function fail for files of a name, as where a folder is mounted read-only."""
    function = getattr(where, name)

    def guarded(file: Any, *given: Any, **named: Any) -> Any:
        if isinstance(file, (str, Path)) and Path(file).name == denied:
            raise OSError(errno.EROFS, "Read-only file system", str(file))
        return function(file, *given, **named)

    monkeypatch.setattr(where, name, guarded)


def test_saving_beside_a_corpus_that_cannot_be_written_is_told(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.label_truth(range(1, 101))
    deny(monkeypatch, os, "open", "calibration.lock")
    assert "corpus cannot be written to (Read-only file system)" in refused(case)
    assert not case.settings.calibration.exists()


def test_a_calibration_that_cannot_be_read_is_not_replaced(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.label_truth(range(1, 101))
    deny(monkeypatch, Path, "read_bytes", "calibration.json")
    assert "calibration.json cannot be read" in refused(case)
    assert not case.settings.calibration.exists()

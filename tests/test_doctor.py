"""Laws of the doctor: what it says is there has run, and what is not says why."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
import pytest

pytest.importorskip("onnx")
from small_bundle import write_bundle

from clipcal.cli import app
from clipcal.errors import ProviderError
from clipcal.models import doctor
from clipcal.models.bundle import Bundle
from clipcal.models.runtimes import choice
from clipcal.models.session import open_image_encoder


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setattr(doctor, "SECONDS_TO_MEASURE", 0.01)
    return write_bundle(tmp_path / "small")


def test_every_device_either_ran_or_says_why_not(bundle: Bundle) -> None:
    found = doctor.examine(bundle)
    assert ("auto", *(each.device for each in found.run_times)) == choice.DEVICES
    for each in found.run_times:
        assert (each.missing is None) == bool(each.images_per_second)
        assert each.missing is None or "Next: " in each.missing
    taken = [each for each in found.run_times if each.provider == found.provider]
    assert [each.images_per_second for each in taken] == [found.images_per_second]


def test_what_would_time_tensorrt_is_a_command_as_typed() -> None:
    program, name, *words = shlex.split(doctor._NOT_TIMED.partition("Next: ")[2])
    assert program == "clipcal"
    command = app.get_command(click.Context(app), name)
    assert command is not None
    command.make_context(name, words)  # an argument that is missing raises


def test_a_run_time_that_fails_is_told_and_the_others_are_timed(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = open_image_encoder

    def opener(given: Bundle, *, device: str) -> Any:
        if device != "cpu":
            raise ProviderError(f"no {device} today. Next: wait.")
        return real(given, device=device)

    monkeypatch.setattr(doctor, "open_image_encoder", opener)
    monkeypatch.setattr(doctor, "obstacle", lambda device: None)
    found = doctor.examine(bundle, device="cpu")
    by_device = {each.device: each for each in found.run_times}
    assert by_device["cpu"].images_per_second
    assert found.gpu == by_device["cuda"].missing == "no cuda today. Next: wait."
    assert "not timed" in str(by_device["tensorrt"].missing)
    with pytest.raises(ProviderError, match="no cuda today"):
        doctor.examine(bundle, device="cuda")

"""Laws of files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipcal.errors import LabelError
from clipcal.files import replacing, writing


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(file) as part:
        raise ZeroDivisionError(part.write_text("half"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert file.read_text() == "old"


def test_what_cannot_be_written_is_told_with_the_command_that_takes_another_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "a.txt"
    told = (
        f"The labels cannot be written to {target} (Not a directory). Name a file in a folder that "
        f"can be written to: clipcal labels export -o FILE"
    )
    with (
        pytest.raises(LabelError) as raised,
        writing(target, LabelError, "The labels", "clipcal labels export -o FILE") as part,
    ):
        part.write_text("new")
    assert str(raised.value) == told


def test_what_fails_for_another_reason_is_told_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="other"), writing(tmp_path / "a", LabelError, "It", "do"):
        raise ValueError("other")
    assert not list(tmp_path.iterdir())

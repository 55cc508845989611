"""Laws of a bundle's folder: whole or not at all, whatever is killed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from clipcal.errors import BundleError
from clipcal.export.folder import check_target, clear_remains, put_in_place, workshop


def killed(out: Path, *, between: bool) -> Path:
    """What an export leaves that is killed while it replaces `out`."""
    with workshop(out) as folder:
        left = folder.with_name(f"{folder.name.removesuffix('.new')}again.new")
        shutil.copytree(folder, left)
    (left / "fp32").mkdir()
    (left / "fp32" / "visual.onnx").write_bytes(b"gigabytes")
    if between:
        (left / "replaced").mkdir()
        out.rename(left / "replaced" / out.name)
    return left


@pytest.mark.parametrize("between", [False, True])
def test_what_a_killed_export_left_is_cleared_and_the_bundle_it_replaced_comes_back(
    tmp_path: Path, between: bool
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text("{}")
    killed(out, between=between)
    clear_remains(out)
    assert [each.name for each in tmp_path.iterdir()] == ["out"]
    with pytest.raises(BundleError, match="a bundle already"):
        check_target(out, overwrite=False)


def test_what_is_in_use_or_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    left = killed(out, between=False)
    clear_remains(tmp_path / "another")
    with FileLock(left / "lock"):
        clear_remains(out)
    assert (left / "fp32" / "visual.onnx").exists()
    with workshop(out) as mine:
        (mine / "fp32").mkdir()
        clear_remains(out)
        assert (mine / "fp32").exists()
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_two_exports_with_one_process_number_do_not_meet(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with workshop(out) as one, workshop(out) as other:
        for folder, content in ((one, "first"), (other, "second")):
            (folder / "fp32").mkdir()
            (folder / "fp32" / "manifest.json").write_text(content)
            put_in_place(folder / "fp32", out)
    assert (out / "manifest.json").read_text() == "second"
    assert [each.name for each in tmp_path.iterdir()] == ["out"]

"""A folder of everything that goes wrong: each file gets its row, and the run goes on."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from conftest import PREPROCESSING, TinyEncoder
from PIL import Image

from clipcal.index.embed import EmbedReport
from clipcal.index.sources import path_of
from clipcal.index.store import Corpus
from clipcal.models.preprocess import load_pixels

ROOT = Path(__file__).resolve().parents[1]


def gradient(mode: str = "RGB") -> Image.Image:
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    array = np.stack([np.tile(ramp, (48, 1)), np.full((48, 64), 90), np.full((48, 64), 30)], -1)
    return Image.fromarray(array.astype(np.uint8)).convert(mode)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Good and bad files side by side; good ones have names that start with ``ok``."""
    photos = tmp_path / "photos"
    photos.mkdir()

    def write(name: str | bytes, data: bytes) -> None:
        target = os.path.join(os.fsencode(photos), os.fsencode(name))
        with open(target, "wb") as stream:
            stream.write(data)

    whole = saved(gradient().resize((640, 480)), "JPEG")
    write("bad_truncated.jpg", whole[: len(whole) * 2 // 3])
    write("bad_zero.jpg", b"")
    write("bad_text.jpg", b"this is a letter, not a picture\n")
    write("bad_bomb.png", saved(Image.new("1", (20_000, 20_000)), "PNG"))
    write("ok_cmyk.jpg", saved(gradient("CMYK"), "JPEG"))
    deep = (np.linspace(0, 65535, 64 * 48).reshape(48, 64)).astype(np.uint16)
    write("ok_16bit.png", saved(Image.fromarray(deep), "PNG"))
    palette = gradient().quantize(16)
    write("ok_palette.png", saved(palette, "PNG", transparency=0))
    frames = [Image.new("P", (40, 30), colour) for colour in (1, 2, 3)]
    write("ok_animated.gif", saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    exif = Image.Exif()
    exif[0x0112] = 6
    write("ok_rotated.jpg", saved(gradient(), "JPEG", exif=exif))
    write("ok_new\nline.jpg", saved(gradient("L"), "JPEG"))
    write(b"ok_\xff\xfe.png", saved(gradient("LA"), "PNG"))
    (photos / "ok_loop").symlink_to(photos, target_is_directory=True)
    (photos / "bad_circle_a.png").symlink_to(photos / "bad_circle_b.png")
    (photos / "bad_circle_b.png").symlink_to(photos / "bad_circle_a.png")
    os.mkfifo(photos / "bad_pipe.png")
    return photos


@pytest.mark.parametrize("exact", [False, True])
def test_every_file_is_embedded_or_has_its_reason(
    folder: Path,
    run_embed: Callable[..., EmbedReport],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exact: bool,
) -> None:
    (folder / "bad_closed.jpg").write_bytes(saved(gradient(), "JPEG", quality=50))
    real_open = open

    def closed(path: object, *rest: object, **named: object) -> object:
        if str(path).endswith("bad_closed.jpg"):  # root may read what it likes, so it is refused
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, *rest, **named)  # type: ignore[call-overload]  # passed on

    monkeypatch.setattr("builtins.open", closed)
    report = run_embed(folder, exact_decode=exact)
    monkeypatch.undo()
    corpus = Corpus.open(tmp_path / "corpus")
    embedded = sorted(os.path.basename(path_of(i.uri)) for i in corpus.items("embedded"))
    failed = {os.path.basename(path_of(i.uri)): str(i.reason) for i in corpus.items("failed")}
    assert all(name.startswith("ok_") for name in embedded)
    assert len(embedded) == 7 == report.embedded
    assert all(name.startswith("bad_") for name in failed)
    assert len(failed) == 8 == report.failed
    assert "truncated" in failed["bad_truncated.jpg"]
    assert "zero bytes" in failed["bad_zero.jpg"]
    assert "not an image" in failed["bad_text.jpg"]
    assert "400 megapixels" in failed["bad_bomb.png"]
    assert "symbolic links" in failed["bad_circle_a.png"]
    assert failed["bad_pipe.png"] == "not a regular file"
    assert failed["bad_closed.jpg"] == "permission denied"


def test_the_command_line_embeds_what_it_can_and_lists_the_rest(
    folder: Path, tmp_path: Path
) -> None:
    def run(*arguments: str) -> dict[str, Any]:
        command = [sys.executable, str(ROOT / "cli.py"), *arguments, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return cast(dict[str, Any], json.loads(done.stdout))

    report = run("embed", "photos", "--device", "cpu")
    assert [report[count] for count in ("embedded", "skipped", "failed")] == [7, 0, 7]
    listed = {os.path.basename(row["uri"]): row["reason"] for row in run("failures")["failures"]}
    there = {os.fsdecode(name) for name in os.listdir(os.fsencode(folder))}
    assert listed.keys() == {name for name in there if name.startswith("bad_")}
    assert all(listed.values())


def test_names_survive_in_every_output(
    folder: Path, run_embed: Callable[..., EmbedReport], tmp_path: Path
) -> None:
    run_embed(folder)
    uris = [item.uri for item in Corpus.open(tmp_path / "corpus").items("embedded")]
    assert any("\n" in uri for uri in uris)
    odd = next(uri for uri in uris if uri.startswith("file://"))
    odd.encode()
    assert os.path.exists(path_of(odd))


def test_an_image_stored_sideways_is_seen_upright(encoder: TinyEncoder) -> None:
    upright = gradient()
    exif = Image.Exif()
    exif[0x0112] = 6  # the viewer is to turn it by 90 degrees
    sideways = saved(upright.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    expected = load_pixels(saved(upright, "PNG"), PREPROCESSING)
    np.testing.assert_array_equal(load_pixels(sideways, PREPROCESSING), expected)

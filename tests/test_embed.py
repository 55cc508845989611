"""Laws of the embedding pipeline, with a stand-in for the model."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import pytest
from conftest import IDENTITY, PREPROCESSING, TinyEncoder

from clipcal.commands.embed import embed_command
from clipcal.errors import StoreError
from clipcal.index.embed import EmbedOptions, EmbedReport, Progress, embed
from clipcal.index.pipeline import Reader
from clipcal.index.sources import SourceFile, discover
from clipcal.index.store import Corpus
from clipcal.models.identity import ModelIdentity
from clipcal.models.preprocess import MAX_PIXELS
from clipcal.models.registry import find_bundle
from clipcal.models.session import open_image_encoder

Run = Callable[..., EmbedReport]
Draw = Callable[..., Path]

# Embeds slowly enough to be killed in the middle; a file tells when to strike.
SLOW_RUN = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # one may be born deaf to it
sys.path.insert(0, {tests!r})
from pathlib import Path
from conftest import IDENTITY, PREPROCESSING, TinyEncoder
from clipcal.index import commits
from clipcal.index.embed import EmbedOptions, embed
from clipcal.index.sources import discover
from clipcal.index.store import Corpus

commits.COMMIT_SECONDS = {between}

class Slow(TinyEncoder):
    streams = 2

    def encode(self, pixels):
        time.sleep(0.15)
        return super().encode(pixels)

corpus = Corpus.open_or_create(Path({corpus!r}), IDENTITY)
def tell(progress):
    Path({corpus!r}, "embedded").write_text(str(progress.embedded))
embed(corpus, discover([{photos!r}]), Slow, PREPROCESSING, EmbedOptions(), tell)
"""


def counts(report: EmbedReport) -> tuple[int, int, int]:
    return report.embedded, report.skipped, report.failed


def shard_bytes(corpus: Path) -> bytes:
    return b"".join(f.read_bytes() for f in sorted((corpus / "shards").iterdir()))


def test_a_second_run_embeds_nothing(run_embed: Run, pictures: Draw, encoder: TinyEncoder) -> None:
    photos = pictures(10)
    assert counts(run_embed(photos)) == (10, 0, 0)
    assert counts(run_embed(photos)) == (0, 10, 0)
    assert encoder.seen == 10


def test_known_content_is_not_embedded_again_wherever_it_lies(
    run_embed: Run, pictures: Draw, encoder: TinyEncoder, tmp_path: Path
) -> None:
    photos = pictures(6)
    shutil.copytree(photos, tmp_path / "copy")
    shutil.copy(photos / "00_0000.png", photos / "twin.png")
    assert counts(run_embed(photos)) == (6, 1, 0)
    assert counts(run_embed(tmp_path / "copy")) == (0, 6, 0)
    assert encoder.seen == 6
    corpus = Corpus.open(tmp_path / "corpus")
    assert len(corpus.items("embedded")) == 13
    assert len(corpus.uris_at(0)) == 3


def test_a_changed_file_is_embedded_again_even_with_the_same_size_and_time(
    run_embed: Run, pictures: Draw, tmp_path: Path
) -> None:
    photos = pictures(3)
    run_embed(photos)
    target, other = photos / "00_0001.png", pictures(3, folder="b", seed=5) / "05_0001.png"
    before = target.stat()
    shutil.copy(other, target)
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert counts(run_embed(photos)) == (1, 2, 0)
    changed = Corpus.open(tmp_path / "corpus").find(str(target))
    assert changed is not None
    assert changed.row == 3


def test_content_that_comes_back_finds_its_old_embedding(
    run_embed: Run, pictures: Draw, encoder: TinyEncoder, tmp_path: Path
) -> None:
    photos = pictures(2)
    run_embed(photos)
    kept = (photos / "00_0000.png").read_bytes()
    shutil.copy(photos / "00_0001.png", photos / "00_0000.png")
    run_embed(photos)
    (photos / "00_0000.png").write_bytes(kept)
    assert counts(run_embed(photos)) == (0, 2, 0)
    assert encoder.seen == 2
    item = Corpus.open(tmp_path / "corpus").find(str(photos / "00_0000.png"))
    assert item is not None
    assert item.row == 0


def test_vanished_files_are_marked_on_prune_only_and_come_back_without_embedding(
    run_embed: Run, pictures: Draw, encoder: TinyEncoder, tmp_path: Path
) -> None:
    photos, elsewhere = pictures(4), pictures(2, folder="elsewhere", seed=3)
    run_embed(photos, elsewhere)
    gone = photos / "00_0002.png"
    kept = gone.read_bytes()
    gone.unlink()
    (elsewhere / "03_0000.png").unlink()
    run_embed(photos)
    assert Corpus.open(tmp_path / "corpus").count("removed") == 0
    assert run_embed(photos, prune=True).removed == 1
    corpus = Corpus.open(tmp_path / "corpus")
    assert [i.uri for i in corpus.items("removed")] == [str(gone)]
    assert 2 not in corpus.live_rows()
    gone.write_bytes(kept)
    assert counts(run_embed(photos)) == (0, 4, 0)
    assert encoder.seen == 6


def test_a_single_file_that_vanished_is_pruned_when_it_is_named(
    run_embed: Run, pictures: Draw, tmp_path: Path
) -> None:
    photos = pictures(2)
    run_embed(photos)
    (photos / "00_0001.png").unlink()
    assert run_embed(photos / "00_0001.png", prune=True).removed == 1


def test_a_folder_that_is_gone_as_a_whole_is_pruned(
    run_embed: Run, pictures: Draw, tmp_path: Path
) -> None:
    photos, kept = pictures(3), pictures(2, folder="photos2", seed=1)
    run_embed(photos, kept)
    shutil.rmtree(photos)
    assert run_embed(photos, prune=True).removed == 3
    assert Corpus.open(tmp_path / "corpus").count("embedded") == 2


def test_what_a_glob_would_match_is_pruned_even_when_nothing_is_left(
    run_embed: Run, pictures: Draw, tmp_path: Path
) -> None:
    photos = pictures(3)
    run_embed(photos)
    (photos / "00_0000.png").unlink()
    assert run_embed(f"{photos}/*.png", prune=True).removed == 1
    shutil.rmtree(photos)
    assert run_embed(f"{photos}/*.jpg", prune=True).removed == 0
    assert run_embed(f"{tmp_path}/**/*.png", prune=True).removed == 2


def test_what_lies_in_a_folder_that_cannot_be_read_is_not_pruned(
    run_embed: Run, pictures: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = pictures(3)
    run_embed(photos)

    def refuse(path: str, *rest: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    real_scandir, real_lstat = os.scandir, os.lstat
    closed = str(photos)
    monkeypatch.setattr(
        "clipcal.index.sources.os.scandir",
        lambda path: refuse(path) if path == closed else real_scandir(path),
    )
    monkeypatch.setattr(
        "clipcal.index.sources.os.lstat",
        lambda path, **named: (
            refuse(path) if str(path).startswith(closed + "/") else real_lstat(path, **named)
        ),
    )
    report = run_embed(tmp_path / "photos", prune=True)
    assert (report.removed, report.failed) == (0, 1)
    monkeypatch.undo()
    assert Corpus.open(tmp_path / "corpus").count("embedded") == 3
    assert Corpus.open(tmp_path / "corpus").count("failed") == 1
    assert counts(run_embed(photos)) == (0, 3, 0)
    assert Corpus.open(tmp_path / "corpus").count("failed") == 0


def test_a_name_of_a_list_that_exists_again_is_no_failure_any_more(
    run_embed: Run, pictures: Draw, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text("photos\n")
    run_embed(tmp_path / "list.txt")
    assert Corpus.open(tmp_path / "corpus").count("failed") == 1
    pictures(2)
    assert counts(run_embed(tmp_path / "list.txt")) == (2, 0, 0)
    assert Corpus.open(tmp_path / "corpus").count("failed") == 0


def test_a_failure_of_which_nothing_is_left_goes_on_prune(
    run_embed: Run, pictures: Draw, tmp_path: Path
) -> None:
    photos = pictures(1)
    (tmp_path / "list.txt").write_text("nowhere.png\n")
    run_embed(tmp_path / "list.txt")
    run_embed(photos)
    assert Corpus.open(tmp_path / "corpus").count("failed") == 1
    run_embed(photos, prune=True)
    assert Corpus.open(tmp_path / "corpus").count("failed") == 0


def test_bad_images_become_failed_rows_and_the_run_goes_on(
    run_embed: Run, pictures: Draw, tmp_path: Path
) -> None:
    photos = pictures(9)
    (photos / "00_0001.png").write_bytes(b"")
    (photos / "00_0004.png").write_text("no picture")
    whole = (photos / "00_0005.png").read_bytes()
    (photos / "00_0005.png").write_bytes(whole[: len(whole) // 2])
    assert counts(run_embed(photos)) == (6, 0, 3)
    failed = Corpus.open(tmp_path / "corpus").items("failed")
    assert [Path(i.uri).name for i in failed] == ["00_0001.png", "00_0004.png", "00_0005.png"]
    assert all(i.reason for i in failed)
    (photos / "00_0005.png").write_bytes(whole)
    assert counts(run_embed(photos)) == (1, 6, 2)
    assert Corpus.open(tmp_path / "corpus").count("failed") == 2


def test_a_file_that_cannot_be_opened_fails_alone(
    run_embed: Run, pictures: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = pictures(3)
    real_open = open

    def refuse(path: str, *rest: str) -> object:
        if str(path).endswith("0001.png"):
            raise PermissionError(13, "Permission denied", path)
        return real_open(path, *rest)

    monkeypatch.setattr("builtins.open", refuse)
    assert counts(run_embed(photos)) == (2, 0, 1)
    monkeypatch.undo()
    (failed,) = Corpus.open(tmp_path / "corpus").items("failed")
    assert failed.reason == "permission denied"


def test_the_same_bytes_whatever_the_number_of_threads(
    run_embed: Run, pictures: Draw, tmp_path: Path
) -> None:
    photos = pictures(23)
    run_embed(photos, corpus="one", workers=1)
    run_embed(photos, corpus="many", workers=7)
    assert shard_bytes(tmp_path / "one") == shard_bytes(tmp_path / "many")


def test_progress_counts_every_file_once(pictures: Draw, tmp_path: Path) -> None:
    photos = pictures(10)
    (photos / "00_0003.png").write_bytes(b"")
    told: list[Progress] = []
    corpus = Corpus.create(tmp_path / "corpus", IDENTITY)
    embed(corpus, discover([str(photos)]), TinyEncoder, PREPROCESSING, EmbedOptions(), told.append)
    assert (told[-1].done, told[-1].total) == (10, 10)
    assert [p.done for p in told] == sorted(p.done for p in told)


def test_an_empty_folder_needs_no_model(pictures: Draw, tmp_path: Path) -> None:
    corpus = Corpus.create(tmp_path / "corpus", IDENTITY)

    def refuse() -> TinyEncoder:
        raise AssertionError("nothing to embed, but the model was opened")

    found = discover([str(pictures(0))])
    report = embed(corpus, found, refuse, PREPROCESSING, EmbedOptions())
    assert counts(report) == (0, 0, 0)


@pytest.mark.parametrize(("strike_at", "between"), [(0, 1), (4, 0), (8, 0.1), (16, 0), (16, 0.1)])
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_resume_after_kill_gives_the_same_bytes(
    run_embed: Run,
    pictures: Draw,
    tmp_path: Path,
    strike_at: int,
    between: float,
    blow: signal.Signals,
) -> None:
    photos = pictures(40)
    (photos / "00_0009.png").write_bytes(b"broken")
    run_embed(photos, corpus="whole")
    corpus = tmp_path / "killed"
    tests = str(Path(__file__).parent)
    script = SLOW_RUN.format(tests=tests, corpus=str(corpus), photos=str(photos), between=between)
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    _wait_for(corpus / "embedded", strike_at, process)
    process.send_signal(blow)
    assert process.wait() != 0
    done = Corpus.open(corpus).rows
    assert strike_at <= done < 39
    report = run_embed(photos, corpus="killed")
    assert report.embedded == 39 - done
    assert shard_bytes(corpus) == shard_bytes(tmp_path / "whole")
    rows = [
        [(i.uri, i.state, i.row) for i in Corpus.open(tmp_path / name).items()]
        for name in ("whole", "killed")
    ]
    assert rows[0] == rows[1]


def test_two_runs_at_once_are_kept_apart(run_embed: Run, pictures: Draw, tmp_path: Path) -> None:
    photos = pictures(2)
    run_embed(photos)
    with Corpus.open(tmp_path / "corpus").writing(), pytest.raises(StoreError, match="Another"):
        run_embed(photos)


def _wait_for(file: Path, number: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it was killed"
        text = file.read_text() if file.exists() else ""
        if text and int(text) >= number:
            return
        time.sleep(0.005)
    raise AssertionError("the run never came so far")


def test_embeddings_are_stored_as_the_model_gave_them(
    run_embed: Run, pictures: Draw, encoder: TinyEncoder, tmp_path: Path
) -> None:
    from clipcal.models.preprocess import load_pixels

    photos = pictures(5)
    run_embed(photos)
    corpus = Corpus.open(tmp_path / "corpus")
    for item in corpus.items("embedded"):
        pixels = load_pixels(Path(item.uri).read_bytes(), PREPROCESSING)
        expected = encoder.encode(pixels[None])[0].astype(np.float16)
        np.testing.assert_array_equal(corpus.shards.take(np.array([item.row]))[0], expected)


def test_an_image_without_a_finite_embedding_fails_and_its_twins_with_it(
    run_embed: Run,
    pictures: Draw,
    encoder: TinyEncoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photos = pictures(6)
    shutil.copy(photos / "00_0001.png", photos / "00_0001_twin.png")
    whole = encoder.encode

    def overflow(pixels: np.ndarray) -> np.ndarray:
        vectors = whole(pixels)
        if len(pixels) == 4:  # the first batch
            vectors[1] = np.nan
        return vectors

    monkeypatch.setattr(encoder, "encode", overflow)
    assert counts(run_embed(photos)) == (5, 0, 2)
    corpus = Corpus.open(tmp_path / "corpus")
    assert {i.reason for i in corpus.items("failed")} == {"the model gave no finite embedding"}
    assert np.isfinite(corpus.shards.take(corpus.live_rows())).all()
    monkeypatch.undo()
    assert counts(run_embed(photos)) == (1, 6, 0)


def test_a_file_too_large_to_hold_in_memory_fails(
    run_embed: Run, pictures: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = pictures(2)
    monkeypatch.setattr("clipcal.index.pipeline.MAX_BYTES", 10)
    assert counts(run_embed(photos)) == (0, 0, 2)


def test_of_large_files_one_is_in_memory_at_a_time(
    run_embed: Run, pictures: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = pictures(12)
    now, most = [0], [0]
    whole = Reader._read_whole

    def watched(self: Reader, file: SourceFile) -> object:
        now[0] += 1
        most[0] = max(most[0], now[0])
        time.sleep(0.01)
        result = whole(self, file)
        now[0] -= 1
        return result

    monkeypatch.setattr(Reader, "_read_whole", watched)
    monkeypatch.setattr("clipcal.index.pipeline.LARGE_BYTES", 10)
    assert counts(run_embed(photos, workers=6)) == (12, 0, 0)
    assert most == [1]


def twins_behind_one_new_picture(pictures: Draw, run_embed: Run, corpus: str) -> Path:
    """A corpus that knows one picture, and a folder with a new one before 30 copies of it."""
    old, photos = pictures(1, folder="old", seed=4), pictures(1)
    run_embed(old, corpus=corpus)
    for number in range(30):
        shutil.copy(old / "04_0000.png", photos / f"twin_{number:02d}.png")
        (photos / f"twin_{number:02d}_bad.png").write_bytes(b"")
    return photos


def test_what_needs_no_model_is_committed_while_a_picture_waits_for_its_batch(
    run_embed: Run, pictures: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipcal.index.embed.BOOKKEEPING_BATCH", 8)
    photos = twins_behind_one_new_picture(pictures, run_embed, "corpus")
    corpus = Corpus.open(tmp_path / "corpus")
    seen: list[tuple[int, int]] = []

    def watch(progress: Progress) -> None:
        seen.append((progress.done, corpus.count("embedded") + corpus.count("failed")))

    found = discover([str(photos)])
    embed(corpus, found, TinyEncoder, PREPROCESSING, EmbedOptions(), watch)
    steps = [after[0] - before[0] for before, after in pairwise(seen)]
    assert max(steps) <= 8
    assert [committed for _, committed in seen] == [done + 1 for done, _ in seen]
    assert seen[-1] == (61, 62)


def test_a_run_stopped_between_bookkeeping_and_batch_resumes_to_the_same_bytes(
    run_embed: Run, pictures: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipcal.index.embed.BOOKKEEPING_BATCH", 8)
    photos = twins_behind_one_new_picture(pictures, run_embed, "whole")
    shutil.copytree(pictures(7, folder="more", seed=9), photos, dirs_exist_ok=True)
    shutil.copytree(tmp_path / "whole", tmp_path / "stopped")
    run_embed(photos, corpus="whole")
    corpus = Corpus.open(tmp_path / "stopped")

    def stop(progress: Progress) -> None:
        if progress.done >= 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(corpus, discover([str(photos)]), TinyEncoder, PREPROCESSING, EmbedOptions(), stop)
    corpus.close()
    run_embed(photos, corpus="stopped")
    assert shard_bytes(tmp_path / "stopped") == shard_bytes(tmp_path / "whole")
    whole, stopped = (
        {(i.uri, i.state, i.row) for i in Corpus.open(tmp_path / name).items()}
        for name in ("whole", "stopped")
    )
    assert whole == stopped


def test_the_help_states_the_limit_of_pixels_that_holds() -> None:
    (option,) = (o for o in embed_command.params if o.name == "max_pixels")
    assert isinstance(option, click.Option)
    assert embed_command.make_context("embed", ["photos"]).params["max_pixels"] is None
    assert f"[default: {MAX_PIXELS}]" in str(option.help)
    assert EmbedOptions().max_pixels == MAX_PIXELS


@pytest.mark.parametrize(("data", "expected"), [("coco128", (128, 0, 0)), ("fire", (644, 3, 0))])
def test_real_photographs_are_embedded_by_the_built_in_model_without_a_failure(
    shared_data: Path, tmp_path: Path, data: str, expected: tuple[int, int, int]
) -> None:
    bundle = find_bundle("builtin")
    corpus = Corpus.create(tmp_path / "corpus", ModelIdentity.of_bundle(bundle))
    report = embed(
        corpus,
        discover([str(shared_data / data)]),
        lambda: open_image_encoder(bundle, device="cpu"),
        bundle.manifest.preprocessing,
        EmbedOptions(),
    )
    assert counts(report) == expected

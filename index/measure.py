"""What embedding takes on this machine, from files to stored embeddings, stage by stage."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from clipcal.errors import ImageError, SourceError
from clipcal.index.embed import EmbedOptions, embed
from clipcal.index.sources import discover
from clipcal.index.store import Corpus, Outcome
from clipcal.models.bundle import Bundle, Preprocessing
from clipcal.models.identity import ModelIdentity
from clipcal.models.preprocess import load_pixels, open_rgb, to_pixels

if TYPE_CHECKING:
    from clipcal.models.session import ImageEncoder

Result = TypeVar("Result")
_Row = tuple[float, float, float, float, float]
WRITTEN_AT_ONCE = 32
COPIES_BYTES = 2**30  # in the temporary folder, which may be memory
# A comment after the end of a JPEG (or PNG) file changes its content and not its picture.
_MARK = b"copy %d"


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Milliseconds of an image on one core, medians over files.

    Attributes
    ----------
    files : int
        How many were measured.
    read : float
        The file's bytes from disk, or from the system's memory of it.
    decode, resize : float
        Exactly: to all pixels of the picture, and to those that the model takes.
    decode_exact, decode_scaled : float
        Both together: exactly, and as ``embed`` does it (JPEG is decoded at a fraction of its
        size where that is all that the model needs).
    write : float
        Committing an embedding to a corpus, 32 at once. ``embed`` commits about once a second:
        what it finished by then, so that an embedding's share is smaller on a fast machine.
    """

    files: int
    read: float
    decode: float
    resize: float
    decode_exact: float
    decode_scaled: float
    write: float

    @property
    def prepare(self) -> float:
        """Reading and decoding together, as ``embed`` does it."""
        return self.read + self.decode_scaled

    def prepared_by(self, cores: int) -> float:
        """Images a second that so many cores can read and decode, were there no model."""
        return 1000 * cores / self.prepare


def measure_stages(
    paths: Sequence[Path], preprocessing: Preprocessing, *, dim: int, seconds: float
) -> StageTimes:
    """Take files one by one through every stage but the model, in one thread.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        Images; those that cannot be decoded are passed over.
    preprocessing : Preprocessing
        The model's.
    dim : int
        Length of an embedding.
    seconds : float
        Stop after about so long; one file at least is measured.

    Returns
    -------
    StageTimes
        Medians.

    Raises
    ------
    SourceError
        If no file is an image.
    """
    rows: list[_Row] = []
    reasons: list[str] = []
    until = time.perf_counter() + seconds
    for path in paths:
        try:
            rows.append(_through(path, preprocessing))
        except (ImageError, OSError) as error:
            reasons.append(f"{path}: {error}")
            continue
        if time.perf_counter() > until:
            break
    if not rows:
        raise SourceError(
            f"None of the {len(paths):,} files can be decoded ({reasons[0]}). Name a folder of "
            "images: clipcal bench photos/"
        )
    read, decode, resize, exact, scaled = map(statistics.median, zip(*rows, strict=True))
    return StageTimes(len(rows), read, decode, resize, exact, scaled, _writing(dim))


def _through(path: Path, preprocessing: Preprocessing) -> _Row:
    """Milliseconds to read, decode and resize, and for both together exactly and scaled."""
    read, data = _timed(path.read_bytes)
    scaled, _ = _timed(lambda: load_pixels(data, preprocessing))
    decode, image = _timed(lambda: open_rgb(data))
    resize, _ = _timed(lambda: to_pixels(image, preprocessing))
    return read, decode, resize, decode + resize, scaled


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    started = time.perf_counter()
    result = work()
    return 1000 * (time.perf_counter() - started), result


def _writing(dim: int, batches: int = 5) -> float:
    vectors = np.full((WRITTEN_AT_ONCE, dim), dim**-0.5, np.float16)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Corpus.create(Path(folder) / "corpus", ModelIdentity.external("bench", dim))
        with corpus.writing():
            commits = [partial(_commit, corpus, vectors, batch) for batch in range(batches)]
            times = [_timed(commit)[0] for commit in commits]
        corpus.close()
    return statistics.median(times) / WRITTEN_AT_ONCE


def _commit(corpus: Corpus, vectors: np.ndarray, batch: int) -> None:
    first = batch * len(vectors)
    names = [f"{number:064x}" for number in range(first, first + len(vectors))]
    outcomes = [Outcome(f"/{name}", name, 1, "stamp", first + at) for at, name in enumerate(names)]
    corpus.commit(outcomes, vectors, names)


def measure_whole(
    paths: Iterable[Path],
    bundle: Bundle,
    encoder: ImageEncoder,
    options: EmbedOptions | None = None,
) -> float:
    """Embed files into a corpus that is thrown away, as ``clipcal embed`` does.

    Parameters
    ----------
    paths : iterable of pathlib.Path
        The files, all of different content.
    bundle : Bundle
        The model.
    encoder : ImageEncoder
        The model, opened: opening is not in the figure.
    options : EmbedOptions, optional
        Threads and decoding.

    Returns
    -------
    float
        Images a second.
    """
    with tempfile.TemporaryDirectory() as folder:
        corpus = Corpus.create(Path(folder) / "corpus", ModelIdentity.of_bundle(bundle))
        try:
            report = embed(
                corpus,
                discover([str(path) for path in paths]),
                lambda: encoder,
                bundle.manifest.preprocessing,
                options or EmbedOptions(),
            )
        finally:
            corpus.close()
    return report.images_per_second


def copies_that_fit(paths: Sequence[Path], wanted: int, most_bytes: int) -> int:
    """Count how many copies of `paths`, taken in turn, may be written.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        The files.
    wanted : int
        How many copies there should be.
    most_bytes : int
        That they may take together.

    Returns
    -------
    int
        At most `wanted`, and at least 1.
    """
    sizes = (path.stat().st_size for path in islice(cycle(paths), wanted))
    return max(1, sum(total <= most_bytes for total in accumulate(sizes)))


def different_copies(paths: Sequence[Path], count: int, folder: Path) -> list[Path]:
    """Write `count` files of different content that show the pictures of `paths` in turn.

    A corpus embeds a content once. So that a few pictures can stand for many, each copy gets a
    few bytes of its own behind the end of its picture, which decoders do not read.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        JPEG or PNG files.
    count : int
        How many files to write.
    folder : pathlib.Path
        Where to.

    Returns
    -------
    list of pathlib.Path
        The files, in the order of their names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copies = []
    for number in range(count):
        source = paths[number % len(paths)]
        copy = folder / f"{number:07d}{source.suffix}"
        copy.write_bytes(source.read_bytes() + _MARK % number)
        copies.append(copy)
    return copies

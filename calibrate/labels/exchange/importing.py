"""Labels from a file into the corpus, as judgements that can be undone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from clipcal.calibrate.labels.exchange.records import Given
from clipcal.calibrate.labels.matching import NO_ROW, match_images, plain_path
from clipcal.calibrate.labels.pool import majority_of, pool_labels, table_of
from clipcal.calibrate.labels.sheet import name_key
from clipcal.calibrate.labels.voices import FILE
from clipcal.errors import BatchTaken, LabelError
from clipcal.index.judgements import (
    CHOSEN,
    Judgement,
    Origin,
    Said,
    history,
    judge,
    rater_of,
    standing,
    undo,
)
from clipcal.index.roster import roster
from clipcal.index.shards import Rows
from clipcal.index.store import Corpus
from clipcal.index.texts import ItemTexts

_ITEM: Final = re.compile(r"item:(\d{1,18})")
_AT_ONCE: Final = 20_000
Cell = tuple[int, str, str]  # item, key of the category, rater
Image = tuple[str, str]  # its name, and the hash of its content or nothing


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of the labels of a file, or would become of them.

    Attributes
    ----------
    batch : str
        With which all of it can be undone: `undo_import`.
    written : int
        How many labels were kept.
    new, changed, same : int
        Labels that their rater had not given before; had given otherwise; and those that are not
        written, since their rater has given them already, or since the file does not name him and
        they are what is known anyway.
    raters : tuple of str
        Who gave them.
    unmatched : tuple of str
        Images that the corpus does not hold.
    ambiguous : tuple of (str, tuple of str)
        Images that could be several different ones, each with their uris.
    altered : tuple of str
        Images whose name the corpus has, but with another content than was labelled.
    torn : tuple of str
        Images of which a rater says two things in one category, under two names.
    by_name : tuple of str
        Images that were found by their name alone.
    """

    batch: str
    written: int
    new: int
    changed: int
    same: int
    raters: tuple[str, ...]
    unmatched: tuple[str, ...]
    ambiguous: tuple[tuple[str, tuple[str, ...]], ...]
    altered: tuple[str, ...]
    torn: tuple[str, ...]
    by_name: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """Which item each image of the file is; the rest as in `Imported`."""

    items: dict[Image, int]
    unmatched: tuple[str, ...]
    ambiguous: tuple[tuple[str, tuple[str, ...]], ...]
    altered: tuple[str, ...]
    by_name: tuple[str, ...]


def import_labels(
    corpus: Corpus,
    given: Sequence[Given],
    *,
    batch: str,
    levels: Sequence[str] = (),
    dry_run: bool = False,
    begin: Callable[[], object] = lambda: None,
) -> Imported:
    """Keep the labels of a file as what their raters say.

    An image is found by its name as `match_images` finds it, or as ``item:NUMBER``. Where the file
    tells the hash of its content, the image must have that content: an image of that name with
    another content is not taken, and one of another name with that content is.

    Where the file does not name whoever gave a label, it may have left this corpus before, without
    its raters' names. It is taken only if the corpus says otherwise, lest what is known gain a
    second voice, which would outlast a correction.

    Parameters
    ----------
    corpus : Corpus
        Where they are kept.
    given : sequence of Given
        As `read_exchange` reads them.
    batch : str
        A name for all of it that nothing else has. Where there are several raters or origins,
        each has a batch of its own below it, such as ``BATCH/given/ann``; asking again for the
        same writes nothing twice, and goes on where an earlier call was cut short.
    levels : sequence of str
        In which the corpus is labelled, as for `pooled`.
    dry_run : bool
        Only say what would happen.
    begin : callable
        Called before anything is written; what it raises, nothing is written for.

    Returns
    -------
    Imported
        What happened.

    Raises
    ------
    BatchTaken
        If other labels were kept as this batch, or it was undone; then nothing is written.
    StoreError
        If the corpus cannot be written.
    """
    found = _find(corpus, given)
    known = _known(corpus)
    pending: dict[tuple[Origin, str], list[Said]] = {}
    counts = {"new": 0, "changed": 0, "same": 0}
    labels, torn = _placed(given, found.items)
    verdicts = _verdicts(corpus, labels.values(), levels)
    for (item, key, rater), one in labels.items():
        agreed = not one.named and verdicts.get((item, key)) == one.level
        fate = "same" if agreed else _fate(known.get((item, key, rater)), one.level)
        counts[fate] += 1
        if fate != "same":
            said = Said(item, one.category, one.level)
            pending.setdefault((one.origin, rater), []).append(said)
    names = _batches(batch, given)
    fresh = [who for who in pending if not _repeated(corpus, names[who], who[1], pending[who])]
    # What was seen for its scores comes last: of cells that have both it makes no chosen ones.
    fresh.sort(key=lambda who: who[0] in CHOSEN)
    if not dry_run:
        begin()
    written = 0 if dry_run else sum(_keep(corpus, names, who, pending[who]) for who in fresh)
    return Imported(
        batch=batch,
        written=written,
        **counts,
        raters=tuple(dict.fromkeys(rater for *_, rater in labels)),
        unmatched=found.unmatched,
        ambiguous=found.ambiguous,
        altered=found.altered,
        torn=torn,
        by_name=found.by_name,
    )


def undo_import(corpus: Corpus, batch: str, *, rater: str | None = None) -> tuple[Judgement, ...]:
    """Undo what was said as a batch, or below it; what was said before stands again.

    Parameters
    ----------
    corpus : Corpus
        The corpus.
    batch : str
        As given to `import_labels`, or as the history names it.
    rater : str, optional
        Undo only what this rater said.

    Returns
    -------
    tuple of Judgement
        What was undone now; empty where all of it was before.

    Raises
    ------
    LabelError
        If nothing was said so.
    StoreError
        If the corpus cannot be written.
    """
    found = {
        (one.batch, one.rater): None
        for one in journal(corpus, rater)
        if one.batch == batch or one.batch.startswith(f"{batch}/")
    }
    if not found:
        whom = f" by {rater}" if rater else ""
        raise LabelError(
            f"Nothing was said as {batch!r}{whom}. Name a batch of the history: "
            f"clipcal labels history"
        )
    return tuple(one for name, who in found for one in undo(corpus, name, rater=who))


def _fate(before: str | None, level: str) -> str:
    if before is None:
        return "new"
    return "same" if before.casefold() == level.casefold() else "changed"


def journal(corpus: Corpus, rater: str | None = None) -> Iterator[Judgement]:
    """Yield what was said, the newest first: by anybody, or by one rater."""
    before: int | None = None
    while some := history(corpus, rater=rater, limit=_AT_ONCE, before=before):
        yield from some
        before = some[-1].id


def _batches(batch: str, given: Iterable[Given]) -> dict[tuple[Origin, str], str]:
    """Name the batch of each origin and rater, alike whenever the same file is asked for."""
    pairs = dict.fromkeys((one.origin, one.rater) for one in given)
    return {
        (origin, rater): batch if len(pairs) == 1 else f"{batch}/{origin}/{rater}"
        for origin, rater in pairs
    }


def _repeated(corpus: Corpus, batch: str, rater: str, said: Sequence[Said]) -> bool:
    """Whether all of this was kept as this batch; BatchTaken where only the name was.

    What stands otherwise by now was said again since, and nobody who repeats himself after a lost
    reply means to take that back.
    """
    if rater_of(corpus, batch) is None:
        return False
    kept = {
        (one.item, one.category, one.level)
        for one in journal(corpus, rater)
        if one.batch == batch and one.undone is None
    }
    if not {(one.item, one.category, one.level) for one in said} <= kept:
        raise BatchTaken(
            f"The batch {batch!r} was kept with other labels, or was undone. Give the file a new "
            f"name of a batch, then import it again."
        )
    return True


def _keep(
    corpus: Corpus,
    names: Mapping[tuple[Origin, str], str],
    who: tuple[Origin, str],
    said: Sequence[Said],
) -> int:
    origin, rater = who
    return len(said) if judge(corpus, names[who], said, rater=rater, origin=origin) else 0


def _known(corpus: Corpus) -> dict[Cell, str]:
    """Return what raters say now, and what the file said of cells that nobody has judged."""
    known = {(j.item, name_key(j.category), j.rater): str(j.level) for j in standing(corpus)}
    judged = {cell[:2] for cell in known}
    for uri, row in corpus.labels().items():
        item = corpus.find(uri)
        for category, level in row.items():
            if item is not None and (item.id, name_key(category)) not in judged:
                known[item.id, name_key(category), FILE] = level
    return known


def _verdicts(
    corpus: Corpus, labels: Iterable[Given], levels: Sequence[str]
) -> dict[tuple[int, str], str]:
    """Return what is known of each cell, in the categories in which a label names no rater."""
    categories = list(dict.fromkeys(one.category for one in labels if not one.named))
    pool = pool_labels(corpus, categories, levels) if categories else None
    known = majority_of(pool, table_of(pool)) if pool else {}
    return {
        (item, name_key(category)): level
        for item, row in known.items()
        for category, level in row.items()
    }


def _placed(
    given: Iterable[Given], items: Mapping[Image, int]
) -> tuple[dict[Cell, Given], tuple[str, ...]]:
    """Return the labels of images that were found, one per cell and rater, and who is torn."""
    labels: dict[Cell, Given] = {}
    torn: dict[Cell, str] = {}
    for one in given:
        item = items.get(_image(one))
        if item is None:
            continue
        cell = (item, name_key(one.category), one.rater)
        if labels.setdefault(cell, one).level != one.level:
            torn[cell] = one.image
    for cell in torn:
        del labels[cell]
    return labels, tuple(dict.fromkeys(torn.values()))


def _find(corpus: Corpus, given: Iterable[Given]) -> _Found:
    """Find the images of the file among the embedded items."""
    images = list(dict.fromkeys(map(_image, given)))
    names = list(dict.fromkeys(name for name, _ in images))
    ids, rows = roster(corpus)
    uris = ItemTexts(corpus, "uri", ids, rows)
    match = match_images(names, uris, ItemTexts(corpus, "sha256", ids, rows))
    named = dict(zip(names, match.rows.tolist(), strict=True)) | _numbered(names, ids)
    place_of = _by_content(corpus, images, named, ids, rows)
    unclear = dict(match.ambiguous)
    lost = [image for image, place in place_of.items() if place == NO_ROW]
    altered = [name for name, _ in lost if named[name] != NO_ROW]
    return _Found(
        items={i: int(ids[place]) for i, place in place_of.items() if place != NO_ROW},
        unmatched=_distinct(n for n, _ in lost if named[n] == NO_ROW and n not in unclear),
        ambiguous=tuple(
            (name, unclear[name]) for name in _distinct(n for n, _ in lost) if name in unclear
        ),
        altered=_distinct(altered),
        by_name=tuple(name for name in match.by_name if (name, "") in place_of),
    )


def _image(one: Given) -> Image:
    return one.image, one.sha256.lower()


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _numbered(names: Iterable[str], ids: Rows) -> dict[str, int]:
    """Find the places of images that are called by their item."""
    numbers = {name: int(found[1]) for name in names if (found := _ITEM.fullmatch(name))}
    place_of = {item: place for place, item in enumerate(ids.tolist())} if numbers else {}
    return {name: place_of.get(number, NO_ROW) for name, number in numbers.items()}


def _by_content(
    corpus: Corpus, images: Sequence[Image], named: Mapping[str, int], ids: Rows, rows: Rows
) -> dict[Image, int]:
    """Return the place of each image: of its name, where that has its content, or else by it.

    Of several copies it is the one whose path ends with the name, or else the first.
    """
    wanted = {sha256 for _, sha256 in images if sha256}
    taken = set(named.values())
    places: dict[str, list[int]] = {}
    content_of: dict[int, str] = {}
    for place, sha256 in enumerate(ItemTexts(corpus, "sha256", ids, rows) if wanted else ()):
        if sha256 in wanted:
            places.setdefault(sha256, []).append(place)
        if place in taken:
            content_of[place] = sha256
    found: dict[Image, int] = {}
    for name, sha256 in images:
        place = named[name]
        if sha256 and (place == NO_ROW or content_of[place] not in ("", sha256)):
            copies = places.get(sha256, [])
            place = _copy(corpus, name, copies, ids) if copies else NO_ROW
        found[name, sha256] = place
    return found


def _copy(corpus: Corpus, name: str, copies: Sequence[int], ids: Rows) -> int:
    if len(copies) == 1:
        return copies[0]
    uris = ItemTexts(corpus, "uri", ids)
    end = f"/{plain_path(name)}"
    return next((one for one in copies if f"/{plain_path(uris[one])}".endswith(end)), copies[0])

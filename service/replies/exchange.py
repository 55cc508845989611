"""Label files over HTTP: which images, what they are called, and what is told of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

from clipcal.calibrate.labels.exchange.exporting import predict
from clipcal.calibrate.labels.exchange.importing import Imported
from clipcal.calibrate.labels.exchange.naming import ends_of_others
from clipcal.calibrate.labels.exchange.records import Predicted
from clipcal.calibrate.labels.exchange.selecting import (
    every_image,
    images_by_score,
    suggested_images,
)
from clipcal.calibrate.labels.matching import plain_path
from clipcal.calibrate.labels.pool import Names
from clipcal.index.judgements import Origin
from clipcal.index.lookup import items_by_id
from clipcal.index.records import Item
from clipcal.index.shards import Rows
from clipcal.service.gate.problems import conflict
from clipcal.service.replies.sentences import Hide
from clipcal.service.schemas.labels import Selection
from clipcal.service.served.view import View

_MOST_NAMED = 20
_MOST_LISTED = 200
_LONGEST = 1_000  # characters of a name: a label file may hold a book in the place of one


def export_names(view: View, items: Iterable[int]) -> Names:
    """Name images so that a file which comes back means the same ones.

    An image is called by its name; by the hash of its content where another image's path ends
    with that name, or a file would not keep it; and by its item where that hash is not known.

    Parameters
    ----------
    view : View
        What is served.
    items : iterable of int
        The images that may be exported.

    Returns
    -------
    callable
        From the uri of one of them to what the file calls it.
    """
    known = list(items_by_id(view.corpus, items).values())
    last = {_last(view.names(item.uri)) for item in known}
    every = map(view.names, view.scored.uris)
    unclear = ends_of_others([plain_path(name) for name in every if _last(name) in last])
    called = {item.uri: _called(item, view.names(item.uri), unclear) for item in known}
    return called.__getitem__


def _last(name: str) -> str:
    return plain_path(name).rpartition("/")[2]


def _called(item: Item, name: str, unclear: Collection[str]) -> str:
    """Choose what a file calls an image; the name of an address is less than the address."""
    kept = "://" not in item.uri and name == name.strip() and plain_path(name) not in unclear
    return name if kept else item.sha256 or f"item:{item.id}"


def selected(
    view: View, selection: Selection, category: str | None, limit: int
) -> dict[int, Origin] | None:
    """Choose the images of an export, and tell how whoever labels them comes to see them.

    Parameters
    ----------
    view : View
        What is served.
    selection : Selection
        Those with labels; those that were drawn, are flagged, or lie near a threshold, and wait
        for a label; or all.
    category : str or None
        In which they wait; in any by default.
    limit : int
        At most so many of those that wait.

    Returns
    -------
    dict of int to Origin, or None
        By item; None for those with labels.

    Raises
    ------
    LabelError
        If none waits.
    Refused
        409, if there is no threshold to flag by.
    """
    if selection == "labelled":
        return None
    if selection == "all":
        return every_image(view.corpus)
    if selection == "suggested":
        return dict(islice(suggested_images(view.corpus, category or "").items(), limit))
    if view.contract is None:
        raise _nothing_decides()
    names = view.categories if category is None else (category,)
    return images_by_score(view.corpus, selection, view.scored, view.contract, names, limit)


def predicted(view: View, places: Rows, categories: Sequence[str]) -> Predicted:
    """Say what the calibration says of the images of an export; 409 where there is none."""
    if view.contract is None:
        raise _nothing_decides()
    return predict(view.scored, view.contract, places, categories)


def import_notes(done: Imported) -> Iterator[str]:
    """Yield what is to be known of an import beside what was not found."""
    if done.altered:
        yield f"Have another content by now than was labelled: {_some(done.altered)}."
    if done.torn:
        yield f"Have two different labels of one rater, and keep neither: {_some(done.torn)}."
    if done.by_name:
        yield f"Were found by their names alone: {_some(done.by_name)}."


def listed(names: Sequence[str], hide: Hide) -> list[str]:
    """List the first of many names, as far as they can be shown."""
    return [hide(name[:_LONGEST]) for name in names[:_MOST_LISTED]]


def _nothing_decides() -> Exception:
    return conflict(
        "There is no calibration, so that nothing is decided yet. Fit one: POST /v1/calibrations; "
        "or export without predictions what is labelled, suggested, or all."
    )


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _MOST_NAMED
    named = ", ".join(name[:_LONGEST] for name in names[:_MOST_NAMED])
    return named + (f" and {rest:,} more" if rest > 0 else "")

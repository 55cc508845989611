"""Label files over HTTP: which images, what they are called, and what is told of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from clipcal.calibrate.labels.exchange.exporting import predict
from clipcal.calibrate.labels.exchange.importing import Imported
from clipcal.calibrate.labels.exchange.naming import relative_names
from clipcal.calibrate.labels.exchange.records import Predicted
from clipcal.calibrate.labels.exchange.selecting import (
    every_image,
    images_by_score,
    suggested_images,
)
from clipcal.calibrate.labels.pool import Names
from clipcal.index.judgements import Origin
from clipcal.index.shards import Rows
from clipcal.service.problems import conflict
from clipcal.service.schemas.labels import Selection
from clipcal.service.view import View

_MOST_NAMED = 20


def export_names(view: View) -> Names:
    """Name images so that a file which comes back means the same ones.

    An image is called by its name, by the hash of its content where another image's path ends
    with that name, or by its item where two have one name.
    """
    uris, contents = list(view.scored.uris), list(view.scored.sha256s)
    names = [view.names(uri) for uri in uris]
    twice = {name for name, count in Counter(names).items() if count > 1}
    unique = relative_names(names, contents)
    called = {
        uri: f"item:{item}" if name in twice else unique(name)
        for uri, name, item in zip(uris, names, view.ids.tolist(), strict=True)
    }
    return called.__getitem__


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


def _nothing_decides() -> Exception:
    return conflict(
        "There is no calibration, so that nothing is decided yet. Fit one: POST /v1/calibrations; "
        "or export without predictions what is labelled, suggested, or all."
    )


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")

"""What a request names must be there: categories, levels and images of the corpus."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import numpy as np

from clipcal.index.judgements import rater_of
from clipcal.index.reading import Reading
from clipcal.service.gate.problems import conflict, too_large, unprocessable
from clipcal.service.served.view import View
from clipcal.service.settings import Settings

_MOST_NAMED: Final = 20


def require_level(view: View, category: str, level: str | None) -> str:
    """Return the level at which a threshold stands; where there is only one, it may go unnamed.

    Raises
    ------
    Refused
        422, if there is no such category or level, with those that there are.
    """
    view.column(category)
    above = view.levels[1:]
    if level is None and len(above) == 1:
        return above[0]
    if level not in above:
        fact = "No level is named" if level is None else f"No threshold stands at {level!r}"
        raise unprocessable(f"{fact}. Take one of: {', '.join(above)}.")
    return level


def require_labels(view: View, labels: Iterable[tuple[int, str, str | None]]) -> None:
    """Refuse labels of unknown images, in unknown categories or at unknown levels.

    Parameters
    ----------
    view : View
        What is served.
    labels : iterable of (int, str, str or None)
        Item, category and level; None takes a label back.

    Raises
    ------
    Refused
        422, naming what is unknown, and what there is.
    """
    asked = list(labels)
    for category in sorted({category for _, category, _ in asked}):
        view.column(category)
    for level in sorted({level for *_, level in asked if level is not None}):
        if level not in view.levels:
            raise unprocessable(
                f"There is no level {level!r}. Take one of: {', '.join(view.levels)}; or null, "
                f"which takes a label back."
            )
    _require_items(view, sorted({item for item, *_ in asked}))


def require_number(settings: Settings, labels: int) -> None:
    """Refuse more labels than are taken at once: 413."""
    most = settings.limits.labels
    if labels > most:
        raise too_large(
            f"There are {labels:,} labels in one request, and {most:,} are taken at once. Send "
            f"them in several."
        )


def require_owner(corpus: Reading, batch: str, raters: Collection[str]) -> str | None:
    """Return whose a batch is, None where nothing was said as that; 409 if none of `raters`'."""
    owner = rater_of(corpus, batch)
    if owner is not None and owner not in raters:
        raise conflict(
            f"The labels {batch!r} are those of {owner}, not of {', '.join(sorted(raters))}. Name "
            f"a batch of your own."
        )
    return owner


def require_corpus(meant: str | None, served: str) -> None:
    """Refuse what is meant for another corpus than the one that is served: 409."""
    if meant is not None and meant != served:
        raise conflict(
            "These labels belong to another corpus than the one that is served here, whose images "
            "have the same ids. Send them where that corpus is served: `corpus` of /v1/categories "
            "tells."
        )


def _require_items(view: View, items: Sequence[int]) -> None:
    asked = np.array(items, np.int64)
    unknown = asked[~np.isin(asked, view.ids)].tolist()
    if unknown:
        more = f" and {len(unknown) - _MOST_NAMED:,} more" if len(unknown) > _MOST_NAMED else ""
        raise unprocessable(
            f"There is no embedded image {', '.join(map(str, unknown[:_MOST_NAMED]))}{more} in the "
            f"corpus, and no label was kept. Take ids from /v1/items."
        )

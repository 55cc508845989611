"""Texts of many images, read from the database of their corpus as they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, overload

from clipcal.index.shards import Rows

if TYPE_CHECKING:
    from clipcal.index.reading import Reading

_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class ItemTexts(Sequence[str]):
    """The uris or the hashes of images as a sequence that holds none of them.

    Those of ten million images take gigabytes in memory. An item keeps its uri for ever, so that
    what is read later is what would have been read at once.

    Attributes
    ----------
    corpus : Reading
        The corpus; it must stay open.
    column : {"uri", "sha256"}
        What of an image; an empty text where it has none.
    ids : Rows
        int64 (n,), the items.
    """

    corpus: Reading
    column: Literal["uri", "sha256"]
    ids: Rows

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.ids)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        """Read the text of one image, or of a stretch of images."""
        if isinstance(place, slice):
            return self.corpus.texts(self.column, self.ids[place])
        return self.corpus.texts(self.column, self.ids[[place]])[0]

    def __iter__(self) -> Iterator[str]:
        """Read the texts one after the other, some thousands at a time."""
        for start in range(0, len(self), _AT_ONCE):
            yield from self[start : start + _AT_ONCE]

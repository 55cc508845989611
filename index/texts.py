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

    Those of ten million images take gigabytes in memory. An item keeps its uri for ever and a row
    its content, so that what is read later is what would have been read at once.

    Any thread may read, and several at once: they take turns at the corpus's one connection. A
    thread that writes through the same connection meanwhile shows them what is not committed.

    Attributes
    ----------
    corpus : Reading
        The corpus; it must stay open, or reading ends with StoreError.
    column : {"uri", "sha256"}
        What of an image; an empty text where it has none.
    ids : Rows
        int64 (n,), the items.
    rows : Rows, optional
        int64 (n,), the rows to which the items pointed. With them a hash is that of the content
        embedded there; without, of the file as it was last read, which another process may have
        found changed by then.
    """

    corpus: Reading
    column: Literal["uri", "sha256"]
    ids: Rows
    rows: Rows | None = None

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
            return self._read(place)
        at = range(len(self))[place]
        return self._read(slice(at, at + 1))[0]

    def __iter__(self) -> Iterator[str]:
        """Read the texts one after the other, some thousands at a time."""
        for start in range(0, len(self), _AT_ONCE):
            yield from self[start : start + _AT_ONCE]

    def _read(self, part: slice) -> list[str]:
        if self.column == "sha256" and self.rows is not None:
            return self.corpus.contents(self.ids[part], self.rows[part])
        return self.corpus.texts(self.column, self.ids[part])

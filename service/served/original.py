"""Whether a corpus is still the one that was opened: a connection outlives the file it reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clipcal.errors import StoreError
from clipcal.index.database import DATABASE


class Original:
    """The database that lay in a folder when it was opened.

    Whoever replaces a folder leaves those who have its files open with files that nobody finds any
    more: what they write is lost, and what they read is not what is there.

    Parameters
    ----------
    path : pathlib.Path
        The corpus's folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._first = self._now()

    def require(self) -> None:
        """Refuse another database, or none.

        Raises
        ------
        StoreError
            If it is not the one that was opened.
        """
        if self._now() != self._first:
            raise StoreError(
                f"The corpus in {self._path} was replaced or removed while it was served. "
                f"Start the service again: clipcal serve --corpus {self._path}"
            )

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Refuse it before a block, and after: what was written to a file that is gone is lost."""
        self.require()
        yield
        self.require()

    def _now(self) -> tuple[int, int] | None:
        try:
            found = (self._path / DATABASE).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

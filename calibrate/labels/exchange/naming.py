"""What exported files call images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clipcal.calibrate.labels.matching import plain_path
from clipcal.calibrate.labels.pool import Names


def relative_names(uris: Sequence[str], sha256s: Sequence[str] | None = None) -> Names:
    """Name images by their paths below the deepest folder that holds all of them.

    Parameters
    ----------
    uris : sequence of str
        Every image of the corpus.
    sha256s : sequence of str, optional
        Per uri the hash of its content. With them an image is called by its hash where its
        relative path could be another image's too, as `match_images` compares paths by their
        ends; or where a cell of a sheet would not keep it. Without them it is always the path.

    Returns
    -------
    callable
        From a uri to its name, for these uris only.
    """
    paths = [plain_path(uri) for uri in uris]
    start = len(common_folder(paths))
    names = [path[start:].removeprefix("/") for path in paths]
    if sha256s is not None:
        unclear = ends_of_others(names)
        names = [
            (sha256 if name in unclear or name != name.strip() else "") or name
            for name, sha256 in zip(names, sha256s, strict=True)
        ]
    return dict(zip(uris, names, strict=True)).__getitem__


def common_folder(paths: Iterable[str]) -> str:
    """Return the deepest folder that holds all of the paths, without a slash at its end.

    Parameters
    ----------
    paths : iterable of str
        As `plain_path` writes them.

    Returns
    -------
    str
        The folder; empty where there is none.
    """
    common: list[str] | None = None
    for path in paths:
        parts = path.split("/")[:-1]
        if common is None:
            common = parts
        elif parts[: len(common)] != common:
            pairs = zip(common, parts, strict=False)
            common = common[: next((i for i, (a, b) in enumerate(pairs) if a != b), len(parts))]
    return "/".join(common or [])


def ends_of_others(names: Sequence[str]) -> set[str]:
    """Find the names that occur twice, or that another name ends with, by whole components."""
    known: set[str] = set()
    unclear = set()
    for name in names:
        if name in known:
            unclear.add(name)
        known.add(name)
    for name in names:
        cut = name.find("/")
        while cut >= 0:
            end = name[cut + 1 :]
            if end in known:
                unclear.add(end)
            cut = name.find("/", cut + 1)
    return unclear

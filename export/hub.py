"""Files from the Hugging Face hub: from the local cache, else downloaded, else one clear line."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import huggingface_hub

from clipcal.errors import BundleError

_PATIENCE = 10.0  # seconds that the hub has to answer at all


def fetch_file(repository: str, names: Sequence[str], remedy: str) -> Path:
    """Return the first of `names` that the repository has.

    Parameters
    ----------
    repository : str
        ``owner/name`` on the hub.
    names : sequence of str
        File names, best first.
    remedy : str
        What to do without network, for the error message; ``{url}`` becomes the address of the
        first of `names`.

    Returns
    -------
    pathlib.Path
        The file in the local cache of huggingface_hub.

    Raises
    ------
    BundleError
        If no such file is in the cache and the hub does not give one.
    """
    cached = (huggingface_hub.try_to_load_from_cache(repository, name) for name in names)
    for path in cached:
        if isinstance(path, str):
            return Path(path)
    advice = remedy.format(url=f"{_endpoint()}/{repository}/resolve/main/{names[0]}")
    # Asked once here, because the client itself goes on trying for most of a minute.
    if not _reachable():
        raise BundleError(f"{_endpoint()} cannot be reached. {advice}")
    return _download(repository, names, advice)


def _download(repository: str, names: Sequence[str], advice: str) -> Path:
    reason = "it has no such file"
    for name in names:
        try:
            return Path(huggingface_hub.hf_hub_download(repository, name))
        except Exception as error:  # the client raises whatever its HTTP library raises
            reason = (str(error).splitlines() or [type(error).__name__])[0]
    raise BundleError(f"{repository} on the hub gave no {names[0]} ({reason}). {advice}")


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _reachable() -> bool:
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return False
    request = urllib.request.Request(_endpoint(), method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False

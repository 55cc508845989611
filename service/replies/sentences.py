"""Sentences made for whoever runs the service, as clients are told them."""

from __future__ import annotations

from collections.abc import Callable

from clipcal.service.gate.paths import without_paths
from clipcal.service.served.view import View
from clipcal.service.settings import Settings

Hide = Callable[[str], str]


def hiding(settings: Settings, view: View) -> Hide:
    """Make what takes the machine's folders out of a sentence, and leaves the names of files."""
    return lambda text: without_paths(view.names.hide(text), settings)

"""Sentences made for whoever runs the service, as clients are told them."""

from __future__ import annotations

from clipcal.service.gate.paths import Hide, hiding_places
from clipcal.service.served.view import View
from clipcal.service.settings import Settings

__all__ = ["Hide", "hiding"]


def hiding(settings: Settings, view: View) -> Hide:
    """Make what takes the machine's folders out of a sentence, and leaves the names of files."""
    hide = hiding_places(settings)
    return lambda text: hide(view.names.hide(text))

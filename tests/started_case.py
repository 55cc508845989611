"""A service in the test's own process, as the two kinds of corpus are served that tests share.

`review_case` has a corpus with a known truth and no model, for labels and thresholds;
`service_case` has pictures and the built-in model, for what embeds; `served_case` runs the command
in a process of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.testclient import TestClient

from clipcal.service.context import Context
from clipcal.service.settings import Settings

BASE = "http://127.0.0.1:8765"


@dataclass(frozen=True, slots=True)
class Started:
    """A running service, and somebody who asks it.

    Attributes
    ----------
    settings : Settings
        How it was started.
    client : TestClient
        Asks it as a program of this machine does.
    """

    settings: Settings
    client: TestClient

    @property
    def context(self) -> Context:
        """What its routes work with."""
        context: Context = self.client.app.state.context  # type: ignore[attr-defined]  # Starlette types it as any callable
        return context

"""Figures for Prometheus: one registry per app, so that two in a process do not mix."""

from __future__ import annotations

import time
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEDIA_TYPE: Final = CONTENT_TYPE_LATEST
TOO_LARGE: Final = 413
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BATCH: Final = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """What is counted while the service runs."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        r = self._registry
        labels = ("route", "method", "status")
        self._requests = Counter("clipcal_requests", "Requests answered.", labels, registry=r)
        self._seconds = Histogram(
            "clipcal_request_seconds",
            "Seconds until a request was answered.",
            ("route", "method"),
            buckets=_SECONDS,
            registry=r,
        )
        self._batches = Histogram(
            "clipcal_batch_images", "Images of one run of the model.", buckets=_BATCH, registry=r
        )
        self._embedded = Counter(
            "clipcal_images_embedded", "Images that went through the model.", registry=r
        )
        self._rejected = Counter(
            "clipcal_uploads_rejected", "Uploads rejected.", ("reason",), registry=r
        )
        self._labels = Counter("clipcal_labels_kept", "Labels kept.", registry=r)
        self.waiting = Gauge(
            "clipcal_images_waiting", "Images that wait for the model.", registry=r
        )
        self.images = Gauge("clipcal_corpus_images", "Embedded images of the corpus.", registry=r)
        self.labelled = Gauge(
            "clipcal_corpus_labelled", "Images of the corpus that have a label.", registry=r
        )
        self.about = Info("clipcal", "What runs.", registry=r)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request by the template of its route."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)

    def encoded(self, images: int) -> None:
        """Count a batch that goes through the model."""
        self._batches.observe(images)
        self._embedded.inc(images)

    def rejected(self, reason: str) -> None:
        """Count an upload that is not taken, for its ``size`` or its ``content``."""
        self._rejected.labels(reason).inc()

    def kept(self, labels: int) -> None:
        """Count labels that were kept."""
        self._labels.inc(labels)

    def page(self) -> bytes:
        """Write everything as Prometheus reads it."""
        return generate_latest(self._registry)


class Counted:
    """Counts the requests of an app.

    Parameters
    ----------
    app : ASGIApp
        What answers.
    metrics : Metrics
        Where they are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app, and count what it answers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            seconds = time.perf_counter() - begun
            self._metrics.answered(_route(scope), _method(scope), status, seconds)
            if status == TOO_LARGE:
                self._metrics.rejected("size")


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _method(scope: Scope) -> str:
    """The method; what clients make up has one name, or every one would be a series."""
    return scope["method"] if scope["method"] in _METHODS else "other"


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", "") or "other"

"""A small corpus with a known truth, served without a model: for tests of labels and thresholds."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import DIM, IDENTITY
from starlette.testclient import TestClient
from started_case import BASE, Started

from clipcal.index.store import Corpus, Outcome
from clipcal.prompts.vectors import TextVectors
from clipcal.service.app import create_app
from clipcal.service.settings import Limits, Settings

PROMPTS = """
name = "two"
[category.fire]
prompts = ["a fire"]
[category.water]
prompts = ["the sea"]
"""
LEVELLED = PROMPTS.replace('name = "two"', 'name = "levelled"\nlevels = ["none", "minor", "major"]')
IMAGES = 300
HOME = "/archive/photos"


def truth_of(images: int = IMAGES) -> np.ndarray:
    """Who shows fire, and who shows water: Bool[(n, 2)], a third each."""
    return np.random.default_rng(11).random((images, 2)) < 1 / 3


def make_corpus(folder: Path, images: int = IMAGES) -> None:
    """Embed images whose first two coordinates tell the truth, with noise; the last two are one."""
    rng = np.random.default_rng(12)
    vectors = rng.normal(scale=0.25, size=(images, DIM))
    vectors[:, :2] = rng.normal(np.where(truth_of(images), 0.6, 0.0), 0.25)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [*range(images - 1), images - 2]
    outcomes = [
        Outcome(f"{HOME}/{n % 3}/{n:04d}.jpg", f"{row:064x}", row=row) for n, row in enumerate(rows)
    ]
    corpus = Corpus.create(folder, IDENTITY)
    contents = [one.sha256 for one in outcomes[:-1]]
    corpus.commit(outcomes, vectors[:-1].astype(np.float16), contents)
    corpus.close()


@dataclass(frozen=True, slots=True)
class Case(Started):
    """A running service on a corpus of its own."""

    _batches: Iterator[int] = field(default_factory=count)

    def another_client(self) -> TestClient:
        """Ask the same service from another thread."""
        return TestClient(self.client.app, base_url=self.client.base_url)

    def get(self, path: str, **query: Any) -> Any:
        """Ask for something; returns the response."""
        return self.client.get(f"/v1/{path}", params=query)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Send something; returns the response."""
        return self.client.post(f"/v1/{path}", json=body)

    def label(
        self, levels: dict[int, str | None], category: str = "fire", **more: Any
    ) -> dict[str, Any]:
        """Give labels as a batch of their own; returns the reply."""
        labels = [{"item": i, "category": category, "level": v} for i, v in levels.items()]
        batch = f"batch-{next(self._batches):04d}"
        body = {"batch": batch, "rater": "ann", "origin": "random", "labels": labels, **more}
        reply = self.post("labels", body)
        assert reply.status_code in (200, 201), reply.text
        answer: dict[str, Any] = reply.json()
        return answer

    def label_truth(self, items: range, category: str = "fire", **more: Any) -> None:
        """Label images as they are."""
        column = ("fire", "water").index(category)
        told = truth_of()[:, column]
        levels = {item: "positive" if told[item - 1] else "negative" for item in items}
        self.label(dict(levels), category, **more)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, prompt sets and their text vectors."""
    folder = tmp_path_factory.mktemp("template")
    make_corpus(folder / "corpus")
    sentences = np.eye(2, DIM, dtype=np.float32)
    TextVectors(("a fire", "the sea"), sentences, IDENTITY.fingerprint).save(folder / "text.npz")
    (folder / "two.toml").write_text(PROMPTS)
    (folder / "levelled.toml").write_text(LEVELLED)
    return folder


def served(folder: Path, prompts: str | None = "two.toml", limits: Limits | None = None) -> Case:
    """Serve the corpus of a folder."""
    settings = Settings(
        corpus=folder / "corpus",
        calibration=folder / "calibration.json",
        prompts=prompts and str(folder / prompts),
        prompt_vectors=folder / "text.npz",
        limits=limits or Limits(),
    )
    app = create_app(settings)
    app.openapi()  # as when a server starts: no two threads make it
    return Case(settings, TestClient(app, base_url=BASE))


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    """A copy of the template, to be written to."""
    return Path(shutil.copytree(template, tmp_path / "served"))


@pytest.fixture
def case(folder: Path) -> Iterator[Case]:
    """A service that knows no label and no calibration."""
    yield from closing(served(folder))


@pytest.fixture
def levelled(folder: Path) -> Iterator[Case]:
    """The same, with levels none, minor and major."""
    yield from closing(served(folder, "levelled.toml"))


def closing(case: Case) -> Iterator[Case]:
    """Close what a service has opened, once a test is done with it."""
    yield case
    case.client.close()
    case.context.encoder.close()
    case.context.workspace.close()

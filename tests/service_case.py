"""A running service on real pictures and the built-in model: what its tests share."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_contract import planted_contract
from starlette.testclient import TestClient
from started_case import BASE, Started

from clipcal.demo.scenes import draw_scene
from clipcal.index.embed import EmbedOptions, embed
from clipcal.index.sources import discover
from clipcal.index.store import Corpus
from clipcal.models.identity import ModelIdentity
from clipcal.models.registry import find_bundle
from clipcal.models.session import open_image_encoder
from clipcal.prompts.promptset import load_prompt_set
from clipcal.service.app import create_app
from clipcal.service.model.encoder import SharedEncoder
from clipcal.service.settings import Limits, Settings

IMAGES = 12
THRESHOLDS = {"alcohol": 0.0, "weapons": -0.05}  # the others decide nothing


class Service(Started):
    """A running service on real pictures."""

    __slots__ = ()

    @property
    def photos(self) -> list[Path]:
        """The pictures of its corpus, in the order of their items."""
        return sorted((self.settings.corpus.parent / "photos").iterdir())

    def send(self, path: str, *images: bytes, field: str = "images", **data: Any) -> Any:
        """Upload images, and return the reply."""
        files = [(field, (f"{number}.png", image)) for number, image in enumerate(images)]
        return self.client.post(f"/v1/{path}", files=files, data=data)


def picture(seed: int = 0, size: tuple[int, int] = (96, 64)) -> bytes:
    """Draw a PNG."""
    stream = io.BytesIO()
    draw_scene(np.random.default_rng(seed), size=size).image.save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, their corpus and a calibration; not to be written to."""
    folder = tmp_path_factory.mktemp("stock")
    (folder / "photos").mkdir()
    for number in range(IMAGES):
        scene = draw_scene(np.random.default_rng(100 + number), size=(192, 144))
        scene.image.save(folder / "photos" / f"{number:02d}.jpg", quality=90)
    _embed(folder / "photos", folder / "corpus")
    _calibrate(folder)
    return folder


def _embed(photos: Path, path: Path) -> None:
    bundle = find_bundle("builtin")
    corpus = Corpus.open_or_create(path, ModelIdentity.of_bundle(bundle))
    try:
        encoder = open_image_encoder(bundle, device="cpu")
        found = discover([str(photos)])
        embed(corpus, found, lambda: encoder, bundle.manifest.preprocessing, EmbedOptions())
    finally:
        corpus.close()


def _calibrate(folder: Path) -> None:
    chosen, model = load_prompt_set("demo"), ModelIdentity.of_bundle(find_bundle("builtin"))
    categories = [category.name for category in chosen.categories]
    planted_contract(
        chosen,
        {name: {"positive": THRESHOLDS.get(name)} for name in categories},
        model=model.fingerprint,
        preprocessing=model.preprocessing,
    ).save(folder / "calibration.json")


def settings_of(folder: Path, **more: Any) -> Settings:
    """Say how to serve a folder that is made as `stock` is."""
    about = {"corpus": folder / "corpus", "calibration": folder / "calibration.json"}
    return Settings(**{**about, "device": "cpu", **more})


@contextmanager
def running(settings: Settings, *, encoder: SharedEncoder | None = None) -> Iterator[Service]:
    """Serve for the length of a block."""
    app = create_app(settings, encoder=encoder)
    with TestClient(app, base_url=BASE) as client:
        yield Service(settings, client)


@pytest.fixture(scope="module")
def service(stock: Path) -> Iterator[Service]:
    """A service that a module's tests share; they only ask."""
    with running(settings_of(stock)) as started:
        yield started


@pytest.fixture
def start(stock: Path, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start services on a corpus of the test's own; limits are given by their names."""
    folder = tmp_path / "served"
    shutil.copytree(stock, folder)
    ending: list[Any] = []

    def begin(*, limits: dict[str, Any] | None = None, **more: Any) -> Service:
        settings = settings_of(folder, limits=replace(Limits(), **(limits or {})), **more)
        block = running(settings)
        ending.append(block)
        return block.__enter__()

    yield begin
    for block in reversed(ending):
        block.__exit__(None, None, None)


def is_problem(reply: Any, status: int) -> str:
    """Assert that a reply is a problem of that status, and return its detail."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    told = reply.json()
    assert set(told) == {"type", "title", "status", "detail", "errors"}
    assert (told["status"], bool(told["title"])) == (status, True)
    detail: str = told["detail"]
    return detail


def figure(page: str, name: str) -> float:
    """Read a figure from Prometheus's text; 0 where it is not there yet."""
    lines = [line for line in page.splitlines() if line.startswith(name)]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0

"""The service under load: what-if, search and classification, by one client and by many at once.

Run: ``python benchmarks/service.py FOLDER`` where FOLDER is what ``clipcal demo`` left (a corpus,
``calibration.json`` and images). ``--rows 1000000`` grows a copy of its corpus to so many
embeddings, each near one of the demo's. A server is started on a free port of this machine, and
each kind of request is sent by one client, one after the other, and then the same requests by
``--clients`` at once, round by round. Latencies are of single requests, as a client sees them.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import runs
from PIL import Image

from clipcal.commands.common import print_table
from clipcal.index.store import Corpus

CLI = Path(__file__).resolve().parents[1] / "cli.py"
SENTENCES = "a beer glass, a knife, a gun, a tree, a person"
JITTER = 0.02  # of a vector's length, per sum of all directions: near copies of the demo's scenes
SIZE = (640, 480)
_BLOCK = 50_000

Ask = Callable[[httpx.Client, random.Random], httpx.Response]


@dataclass(frozen=True, slots=True)
class Load:
    """What one round of requests took.

    Attributes
    ----------
    seconds : float
        From the first request to the last reply.
    latencies : tuple of float
        Seconds of every request.
    """

    seconds: float
    latencies: tuple[float, ...]


def grow(corpus: Corpus, rows: int) -> None:
    """Add embeddings near the corpus's own until there are `rows`, and an item for each."""
    rng = np.random.default_rng(0)
    own = corpus.shards.take(np.arange(corpus.rows)).astype(np.float32)
    while (start := corpus.rows) < rows:
        block = own[rng.integers(0, len(own), min(_BLOCK, rows - start))]
        block = block + JITTER * rng.standard_normal(block.shape, np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        names = [f"{row:064x}" for row in range(start, start + len(block))]
        corpus.commit([], block.astype(np.float16), names)
        corpus._database.execute(
            "INSERT INTO items (uri, sha256, size, stamp, state, reason, row)"
            " SELECT printf('/grown/%09d.jpg', row), sha256, 0, '', 'embedded', NULL, row"
            " FROM vectors WHERE row >= ?",
            (start,),
        )
    corpus.remove([])  # leaves a new mark: what was kept of the items is made again


@contextmanager
def server(folder: Path, device: str) -> Iterator[str]:
    """Serve the corpus in `folder`; yields the address."""
    command = [sys.executable, str(CLI), "serve", "--json", "--port", "0", "--device", device]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield str(json.loads(process.stdout.readline())["url"]).rstrip("/")
    finally:
        process.terminate()
        process.wait(timeout=60)


def requests(categories: Sequence[str], picture: bytes) -> dict[str, Ask]:
    """The kinds of request, each drawing its own thresholds and words."""
    words = ("a glass of beer", "a knife", "a skull", "pills", "a cigarette", "blood", "a sword")
    places = ("on a table", "at a beach", "in a street", "at night", "in a hand", "before a wall")

    def what_if(client: httpx.Client, rng: random.Random) -> httpx.Response:
        trial = {"category": rng.choice(categories), "threshold": rng.uniform(0.0, 0.2)}
        return client.post("/v1/what-if", json={"trials": [trial]})

    def search(client: httpx.Client, rng: random.Random) -> httpx.Response:
        text = f"{rng.choice(words)} {rng.choice(places)}, {rng.randrange(10**6)}"  # never known
        return client.get("/v1/search", params={"text": text, "k": 20})

    def classify(client: httpx.Client, rng: random.Random) -> httpx.Response:
        files = {"image": ("scene.jpg", picture, "image/jpeg")}
        return client.post("/v1/classify", files=files, data={"sentences": SENTENCES})

    def mixed(client: httpx.Client, rng: random.Random) -> httpx.Response:
        return rng.choice((what_if, search, classify))(client, rng)

    return {"what-if": what_if, "search": search, "classify": classify, "mixed": mixed}


def strange_picture(file: Path) -> bytes:
    """Write a picture once more: the corpus does not know its content, and must embed it."""
    stream = io.BytesIO()
    Image.open(file).resize(SIZE).save(stream, "JPEG", quality=88)
    return stream.getvalue()


def send(url: str, ask: Ask, count: int, clients: int) -> Load:
    """Send `count` requests, dealt evenly to so many clients that all begin at once."""
    ready = threading.Barrier(clients + 1)
    latencies: list[list[float]] = [[] for _ in range(clients)]

    def work(number: int) -> None:
        rng = random.Random(number)
        with httpx.Client(base_url=url, timeout=120) as client:
            client.get("/v1/prompts").raise_for_status()  # the connection is no part of a request
            ready.wait()
            for _ in range(count // clients):
                started = time.perf_counter()
                ask(client, rng).raise_for_status()
                latencies[number].append(time.perf_counter() - started)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    done = tuple(value for own in latencies for value in own)
    if len(done) != count // clients * clients:
        raise SystemExit("Requests failed; the first error is above.")
    return Load(took, done)


def measure(url: str, asks: Mapping[str, Ask], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Send every kind of request alone and at once, round by round."""
    results = []
    for name, ask in asks.items():
        send(url, ask, options.clients, options.clients)  # to warm up
        alone, together = [], []
        for _ in range(options.repeats):
            alone.append(send(url, ask, options.requests, 1))
            together.append(send(url, ask, options.requests, options.clients))
        rates = [a.seconds / t.seconds for a, t in zip(alone, together, strict=True)]
        results.append(
            {
                "request": name,
                "one_at_a_time": _told(alone),
                "at_once": _told(together),
                "times_as_many": runs.summary(rates),
            }
        )
    return results


def _told(loads: Sequence[Load]) -> dict[str, float]:
    latencies = np.concatenate([load.latencies for load in loads])
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99]).tolist()
    rate = float(np.median([len(load.latencies) / load.seconds for load in loads]))
    return {"p50_s": p50, "p95_s": p95, "p99_s": p99, "requests_per_second": rate}


def main() -> None:
    """Parse the call, print the figures, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="what clipcal demo left")
    parser.add_argument("--rows", type=int, default=0, help="grow the corpus to so many embeddings")
    parser.add_argument("--clients", type=int, default=8, help="at once")
    parser.add_argument("--requests", type=int, default=200, help="in a round")
    parser.add_argument("--repeats", type=int, default=3, help="rounds that count")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        shutil.copytree(options.folder / "corpus", folder / "corpus")
        shutil.copy(options.folder / "calibration.json", folder / "calibration.json")
        corpus = Corpus.open(folder / "corpus")
        grow(corpus, options.rows)
        images = corpus.rows
        corpus.close()
        picture = strange_picture(min((options.folder / "images").glob("*.jpg")))
        contract = json.loads((folder / "calibration.json").read_bytes())
        with server(folder, options.device) as url:
            found = measure(url, requests(list(contract["categories"]), picture), options)
    result = {"benchmark": "service", "images": images, "requests": found}
    show(result, options.clients)
    runs.keep(options.json, options, result)


def show(result: Mapping[str, Any], clients: int) -> None:
    """Print the table."""
    rows = []
    for found in result["requests"]:
        for how, name in (("one_at_a_time", "1 client"), ("at_once", f"{clients} clients")):
            told = found[how]
            times = [f"{1000 * told[key]:,.1f}" for key in ("p50_s", "p95_s", "p99_s")]
            rows.append((found["request"], name, *times, f"{told['requests_per_second']:,.0f}"))
        more = found["times_as_many"]
        spread = f"{more['median']:.2f} ({more['low']:.2f}–{more['high']:.2f})"
        rows.append(("", "times as many a second", "", "", "", spread))
    title = f"{result['images']:,} images"
    columns = ("Request", "", ">p50 ms", ">p95 ms", ">p99 ms", ">requests/s")
    print_table(columns, rows, title=title)


if __name__ == "__main__":
    main()

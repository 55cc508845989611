"""How long scores, thresholds and neighbours take on a large corpus, and how much memory.

Run: ``python benchmarks/rescoring.py --rows 1000000 --dim 512 --prompts 50``. Writes a synthetic
corpus to a temporary folder, and prints, section by section, milliseconds of interleaved repeats:
median, least and greatest. ``--kinds ivf hnsw`` adds approximate indexes, with the time to
build them; ``--vectors random`` makes embeddings without any likeness, the hardest to index.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import runs

from clipcal.calibrate.scoring.corpus_scores import score_corpus
from clipcal.calibrate.scoring.scores import category_scores, decide
from clipcal.commands.common import print_table
from clipcal.index.exact import exact_rows
from clipcal.index.neighbours import Kind, refresh_index, search
from clipcal.index.store import Corpus
from clipcal.models.identity import ModelIdentity
from clipcal.prompts.matrix import PromptVectors, build
from clipcal.prompts.promptset import Category, PromptSet
from clipcal.prompts.vectors import TextVectors

CATEGORIES = 7
CLUSTERS = 3000
QUERIES = 200

_ITEMS = """
INSERT INTO items (uri, sha256, size, stamp, state, reason, row)
SELECT printf('/photos/%05d/%09d.jpg', row / 1000, row), sha256, 0, '', 'embedded', NULL, row
FROM vectors ORDER BY row
"""


class Embeddings:
    """Random unit vectors: without any likeness, or in clusters of few directions as CLIP's are."""

    def __init__(self, dim: int, vectors: str) -> None:
        rng = np.random.default_rng(0)
        # Variances that fall like 1 / i: a few directions carry most of the differences.
        self._spread = np.arange(1, dim + 1, dtype=np.float32) ** -0.5
        self._centres = rng.standard_normal((CLUSTERS, dim), np.float32)
        self._clustered = vectors == "clustered"

    def draw(self, count: int, seed: int) -> np.ndarray:
        """Draw float16 (count, dim)."""
        rng = np.random.default_rng(seed)
        block = rng.standard_normal((count, self._centres.shape[1]), np.float32)
        if self._clustered:
            block = (self._centres[rng.integers(0, CLUSTERS, count)] + 0.7 * block) * self._spread
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        return block.astype(np.float16)


def synthetic_corpus(folder: Path, rows: int, embeddings: Embeddings, dim: int) -> Corpus:
    """Write a corpus without files, its images in one statement."""
    corpus = Corpus.create(folder, ModelIdentity.external("synthetic", dim))
    for start in range(0, rows, 50_000):
        block = embeddings.draw(min(50_000, rows - start), seed=start + 1)
        corpus.commit([], block, [f"{row:064x}" for row in range(start, start + len(block))])
    corpus._database.execute(_ITEMS)
    return corpus


def synthetic_prompts(prompts: int, dim: int) -> PromptVectors:
    """Deal random sentences to seven categories."""
    names = [f"sentence {number}" for number in range(prompts)]
    dealt = [tuple(names[c::CATEGORIES]) for c in range(CATEGORIES)]
    categories = tuple(
        Category(name=f"category {c}", prompts=own[:-1], against=own[-1:], pool="max")
        for c, own in enumerate(dealt)
    )
    prompt_set = PromptSet(
        name="synthetic", levels=(), templates=("{}",), categories=categories, overall={}
    )
    vectors = np.random.default_rng(1).standard_normal((prompts, dim), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return build(prompt_set, TextVectors(tuple(names), vectors, None))


def in_turn(works: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, dict[str, float]]:
    """Seconds of each work, timed in turn: median and spread."""
    contenders = [runs.Contender(name, work) for name, work in works.items()]
    timings = runs.interleaved(contenders, 1, repeats)
    return {each.name: runs.summary(each.seconds) for each in timings}


def scoring(corpus: Corpus, prompts: PromptVectors, repeats: int) -> dict[str, Any]:
    """A new prompt set, the same once more, and new thresholds; beside it plain numpy."""

    def new_prompt_set() -> None:
        for cache in (corpus.path / "scores").glob("*.npy"):
            cache.unlink()
        score_corpus(corpus, prompts)

    def plain_numpy() -> np.ndarray:
        blocks = (block.astype(np.float32) for _, block in corpus.shards.blocks(corpus.rows))
        cosines = np.concatenate([block @ prompts.matrix.T for block in blocks])
        return category_scores(cosines, prompts)

    scores = score_corpus(corpus, prompts).scores
    thresholds = np.quantile(scores[:10_000], 0.99, axis=0)
    return in_turn(
        {
            "plain_numpy": plain_numpy,
            "new_prompt_set": new_prompt_set,
            "scores_from_cache": lambda: score_corpus(corpus, prompts),
            "thresholds_only": lambda: decide(scores, thresholds),
        },
        repeats,
    )


def neighbours(corpus: Corpus, queries: np.ndarray, repeats: int) -> dict[str, Any]:
    """Exact neighbours of one query and of many; beside it plain numpy."""

    def plain_numpy() -> np.ndarray:
        blocks = (block.astype(np.float32) for _, block in corpus.shards.blocks(corpus.rows))
        return np.argsort(-np.concatenate([block @ queries[0] for block in blocks]))[:10]

    refresh_index(corpus, kind="flat")
    return in_turn(
        {
            "plain_numpy": plain_numpy,
            "exact": lambda: search(corpus, queries[:1], 10),
            f"exact_{len(queries)}_queries": lambda: exact_rows(corpus, queries, 10, corpus.rows),
        },
        repeats,
    )


def approximate(corpus: Corpus, queries: np.ndarray, kind: Kind) -> dict[str, Any]:
    """Build an index of one kind, and search it for one query after the other."""
    from clipcal.index.neighbours import _finder  # the search without the start of a command

    truth = exact_rows(corpus, queries, 10, corpus.rows)
    started = time.perf_counter()
    card = refresh_index(corpus, kind=kind, rebuild=True)
    built = time.perf_counter() - started
    size = (corpus.path / "index.faiss").stat().st_size
    _finder(corpus, card, queries)(10, None)  # to warm up
    one = queries[:1].copy()
    find = _finder(corpus, card, one)
    hits, seconds = 0, []
    for query, wanted in zip(queries, truth, strict=True):
        one[:] = query
        started = time.perf_counter()
        found = find(10, None)
        seconds.append(time.perf_counter() - started)
        hits += len(np.intersect1d(found[0][:10], wanted))
    low, high = np.percentile(seconds, [50, 95])
    return {
        "build_s": built,
        "bytes": size,
        "search_width": card.search_width,
        "recall_at_10": hits / truth.size,
        "p50_s": low,
        "p95_s": high,
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure section by section."""
    embeddings = Embeddings(options.dim, options.vectors)
    with tempfile.TemporaryDirectory() as folder:
        corpus = synthetic_corpus(Path(folder) / "corpus", options.rows, embeddings, options.dim)
        prompts = synthetic_prompts(options.prompts, options.dim)
        queries = embeddings.draw(QUERIES, seed=0).astype(np.float32)
        score_corpus(corpus, prompts)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kibibytes on Linux
        return {
            "peak_memory_of_scoring_mib": peak / 1024,
            "scoring": scoring(corpus, prompts, options.repeats),
            "neighbours": neighbours(corpus, queries, options.repeats),
            "approximate": {kind: approximate(corpus, queries, kind) for kind in options.kinds},
        }


def main() -> None:
    """Parse the call, print the figures, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--vectors", choices=("clustered", "random"), default="clustered")
    parser.add_argument("--kinds", nargs="*", choices=("ivf", "hnsw"), default=())
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values here")
    options = parser.parse_args()
    result = {"benchmark": "rescoring", **measure(options)}
    show(result)
    runs.keep(options.json, options, result)


def show(result: Mapping[str, Any]) -> None:
    """Print the tables."""
    for section in ("scoring", "neighbours"):
        rows = [
            (name.replace("_", " "), *(f"{1000 * found[key]:,.1f}" for key in found))
            for name, found in result[section].items()
        ]
        print_table((section, ">ms", ">least", ">greatest"), rows)
    for kind, found in result["approximate"].items():
        query = f"{1000 * found['p50_s']:.2f} ms a query (95% within {1000 * found['p95_s']:.2f})"
        recall = f"recall@10 {found['recall_at_10']:.3f}"
        print(f"{kind}: {recall}, {query}, built in {found['build_s']:.0f} s")
    print(f"Peak memory of scoring: {result['peak_memory_of_scoring_mib']:,.0f} MiB")


if __name__ == "__main__":
    main()

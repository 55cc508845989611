"""How long scores, thresholds and exact neighbours take on a large corpus.

Run: ``python benchmarks/rescoring.py --rows 1000000 --dim 512 --prompts 50``. Writes a synthetic
corpus to a temporary folder, and prints medians over repeats as JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from clipcal.calibrate.scoring.corpus_scores import similarities
from clipcal.calibrate.scoring.scores import category_scores, decide
from clipcal.index.neighbours import exact_rows
from clipcal.index.store import Corpus
from clipcal.models.identity import ModelIdentity
from clipcal.prompts.encode import PromptVectors, TextVectors, build
from clipcal.prompts.promptset import Category, PromptSet

CATEGORIES = 7


def synthetic_corpus(folder: Path, rows: int, dim: int) -> Corpus:
    """Write `rows` random unit vectors as a corpus without files."""
    corpus = Corpus.create(folder, ModelIdentity.external("synthetic", dim))
    rng = np.random.default_rng(0)
    for start in range(0, rows, 50_000):
        block = rng.standard_normal((min(50_000, rows - start), dim), np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        corpus.commit([], block.astype(np.float16), [None] * len(block))
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


def timed(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of `repeats` runs after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return median(times)


def measure(rows: int, dim: int, prompts: int, repeats: int) -> dict[str, float]:
    """Seconds of each kind of work."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = synthetic_corpus(Path(folder) / "corpus", rows, dim)
        vectors = synthetic_prompts(prompts, dim)
        query = corpus.shards.take(np.array([7])).astype(np.float32)

        def new_prompt_set() -> None:
            for cache in (corpus.path / "scores").glob("*.npy"):
                cache.unlink()
            similarities(corpus, vectors)

        def cached_scores() -> np.ndarray:
            return category_scores(similarities(corpus, vectors), vectors)

        scores = cached_scores()
        thresholds = np.quantile(scores[:10_000], 0.99, axis=0)
        return {
            "new_prompt_set_s": timed(new_prompt_set, repeats),
            "scores_from_cache_s": timed(cached_scores, repeats),
            "thresholds_only_s": timed(lambda: decide(scores, thresholds), repeats),
            "exact_neighbours_brute_force_s": timed(
                lambda: exact_rows(corpus, query, 10, rows), repeats
            ),
        }


def main() -> None:
    """Parse the call and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(json.dumps({**vars(options), **measure(**vars(options))}, indent=2))


if __name__ == "__main__":
    main()

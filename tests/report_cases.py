"""Contracts, scores and labels made by hand, with every part that a report can show."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.contract import Contract, Fingerprint, KeptPromptSet, Labels
from clipcal.calibrate.heads.head import Head, HeadComparison
from clipcal.calibrate.labels.table import BINARY
from clipcal.calibrate.records import (
    Bands,
    Cut,
    CutProbability,
    Evaluation,
    Expected,
    HeldOut,
    OverallModel,
    Reference,
    Sampling,
)
from clipcal.calibrate.scoring.corpus_scores import CorpusScores
from clipcal.calibrate.scoring.scores import decide
from clipcal.calibrate.statistics.agreement.category import CategoryAgreement
from clipcal.calibrate.statistics.bounds import Estimate, Range, wilson
from clipcal.calibrate.statistics.ordinal import OrdinalFit
from clipcal.calibrate.statistics.probability import (
    ClassTemperature,
    ProbabilityMap,
    ProbabilityQuality,
    ReliabilityBin,
)

LADDER = ("none", "minor", "major")
HOSTILE = "/photos/<script>alert('1')</script>\"onload=x .jpg"
NAMES = ("alcohol", "weapons", "gore")

Kept = dict[str, dict[str, str]]  # uri → category → level


class Page(HTMLParser):
    """What a browser would make of a page: elements, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.text += " " if tag in {"td", "th"} else ""
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, attribute: str) -> list[str]:
        return [value for name, value in self.attributes if name == attribute]

    @property
    def squeezed(self) -> str:
        """The text with single spaces."""
        return " ".join(self.text.split())


def contract_of(
    categories: dict[str, dict[str, Cut]], levels: tuple[str, ...] = BINARY
) -> Contract:
    return Contract(
        created="2026-11-20T23:15:02+00:00",
        clipcal="0.1.0",
        model="tiny::test",
        fingerprint=Fingerprint(
            model="a" * 64, preprocessing="b" * 64, prompts="c" * 64, score_rule="margin"
        ),
        prompt_set=KeptPromptSet(name="try", sha256="c" * 64, toml='name = "try"\n'),
        labels=Labels(name="human.csv", sha256="d" * 64, images=100),
        levels=levels,
        confidence=0.95,
        target="recall=0.9",
        seed=5,
        categories=categories,
    )


def cut_of(
    scores: NDArray[np.float32], positive: NDArray[np.bool_], threshold: float | None
) -> Cut:
    """A cut with true counts of its labels; certified where it has a threshold."""
    n, positives = len(scores), int(positive.sum())
    if threshold is None:
        return Cut(
            status="no_positives",
            threshold=None,
            objective="recall=0.9",
            n=n,
            positives=positives,
            further_positives=29,
            next_step="Label images that show it.",
        )
    flags = decide(scores, threshold)
    hits = int((flags & positive).sum())
    return Cut(
        status="certified",
        threshold=threshold,
        objective="recall=0.9",
        n=n,
        positives=positives,
        recall=wilson(hits, positives),
        precision=wilson(hits, int(flags.sum())),
        guarantee=f"At least 90% score at or above {threshold}.",
        next_step="Apply it to the corpus: clipcal rescore",
    )


def corpus(
    n: int = 200, levels: tuple[str, ...] = BINARY, *, seed: int = 0
) -> tuple[CorpusScores, Kept, Contract]:
    """Scores, labels of half of the images, and a contract; the last category has no positive."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, len(levels), (n, 3)).astype(np.int8)
    values[:, 2] = 0
    scores = (rng.normal(0, 0.1, (n, 3)) + 0.1 * values).astype(np.float32)
    uris = (*(f"/photos/{i:04d}.jpg" for i in range(n - 1)), HOSTILE)
    scored = CorpusScores(uris, ("",) * n, np.arange(n), NAMES, scores)
    labelled = np.sort(rng.permutation(n)[: n // 2])
    cuts = {
        name: {
            level: cut_of(
                scores[labelled, column],
                values[labelled, column] >= rank,
                None if column == 2 else 0.05 * rank,
            )
            for rank, level in enumerate(levels[1:], start=1)
        }
        for column, name in enumerate(NAMES)
    }
    labels = {
        uris[i]: {c: levels[v] for c, v in zip(NAMES, values[i], strict=True)} for i in labelled
    }
    return scored, labels, contract_of(cuts, levels)


def with_bands(cut: Cut, upper: float | None) -> Cut:
    bands = Bands(
        status="certified" if upper is not None else "insufficient",
        objective="precision=0.9",
        upper=upper,
        evidence=44,
        confidence=0.975,
        allow=320,
        review=60,
        block=20,
        misses=Range(5, 1, 12),
        wrongly_blocked=Range(2, 0, 5),
        guarantee="At least 90% of the blocked images are positive." if upper else None,
        next_step="Label more of the highest scores.",
    )
    return cut.model_copy(update={"bands": bands})


QUALITY = ProbabilityQuality(
    n=450,
    brier=0.081,
    log_loss=0.27,
    calibration_error=0.032,
    brier_of_base_rate=0.123,
    bins=tuple(
        ReliabilityBin(p, wilson(round(p * n), n))
        for p, n in ((0.02, 300), (0.15, 80), (0.4, 30), (0.7, 20), (0.95, 20))
    ),
)


def with_everything(cut: Cut) -> Cut:
    """A cut with an interval, evidence, expected numbers and probabilities."""
    threshold = cut.threshold or 0.0
    return cut.model_copy(
        update={
            "interval": Range(threshold, threshold - 0.03, threshold + 0.02),
            "evidence": 61,
            "confidence": 0.9928,
            "flags": 212,
            "expected": Expected(
                true_flags=Range(180, 165, 195),
                false_flags=Range(32, 17, 47),
                misses=Range(9, 2, 1220),
            ),
            "probability": CutProbability(
                map=ProbabilityMap("platt", (4.0, -1.0)),
                quality=QUALITY,
                labelled_prevalence=0.13,
                corpus_prevalence=0.07,
            ),
        }
    )


def evaluation(contract: Contract, **how: object) -> Evaluation:
    held = HeldOut(
        n=90,
        positives=17,
        flags=21,
        recall=wilson(15, 17),
        precision=wilson(15, 21),
        f1=Estimate(0.789, 0.6, 0.9, 23),
    )
    empty = HeldOut(n=90, positives=0, flags=0, recall=None, precision=None, f1=None)
    return Evaluation.model_validate(
        {
            "fraction": None,
            "images": 90,
            "clusters": 84,
            "macro_f1": 0.789,
            "macro_over": 2,
            "categories": {
                name: {
                    level: held if cut.threshold is not None else empty
                    for level, cut in cuts.items()
                }
                for name, cuts in contract.categories.items()
            },
            **how,
        }
    )


def full(contract: Contract) -> Contract:
    """The contract with every optional part filled in; its numbers are invented."""
    first, second, *_ = contract.categories
    cuts = {
        name: {
            level: cut if cut.threshold is None else with_everything(cut)
            for level, cut in levels.items()
        }
        for name, levels in contract.categories.items()
    }
    return contract.model_copy(
        update={
            "categories": cuts,
            "joint": True,
            "holdout": evaluation(contract, fraction=0.2),
            "crossfit": evaluation(contract, folds=5, repeats=3),
            "sampling": Sampling(given=300, audit=100, picked=50),
            "people": {
                first: CategoryAgreement(
                    images=450,
                    ratings=1350,
                    alpha=Estimate(0.72, 0.66, 0.78, 450),
                    kappa=Estimate(0.71, 0.65, 0.77, 450),
                    ceiling=wilson(410, 450),
                    ceiling_kappa=Estimate(0.75, 0.7, 0.8, 450),
                    machine=wilson(380, 450),
                    machine_kappa=Estimate(0.6, 0.52, 0.68, 450),
                ),
                second: CategoryAgreement(
                    images=12, ratings=24, alpha=Estimate(0.1, -0.3, 0.5, 12)
                ),
            },
            "comparisons": {
                first: HeadComparison(
                    "probe", wilson(80, 100), wilson(93, 100), Range(0.13, 0.05, 0.21), True
                ),
                second: HeadComparison(
                    "tip_adapter", wilson(80, 100), wilson(81, 100), Range(0.01, -0.05, 0.06), False
                ),
            },
            "heads": {first: Head("probe", 16, {}, {})},
            "temperature": ClassTemperature(0.043, QUALITY),
            "overall": OverallModel(
                verdicts=("fine", "questionable", "inappropriate"),
                categories=tuple(contract.categories),
                fit=OrdinalFit(
                    weights=tuple(0.5 + i for i, _ in enumerate(contract.categories)),
                    cutpoints=(0.4, 1.9),
                    centre=tuple(0.0 for _ in contract.categories),
                    scale=tuple(1.0 for _ in contract.categories),
                    penalty=1.0,
                ),
                images=450,
                agreement=wilson(400, 450),
                kappa=Estimate(0.7, 0.6, 0.8, 450),
                rule_agreement=wilson(380, 450),
            ),
            "reference": Reference(rows=590, chain="e" * 64, images=600, quantiles={}),
        }
    )

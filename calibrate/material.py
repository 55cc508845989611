"""What a calibration is made from: the scores of a corpus, and the labels among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.cuts.sample import Sample, gather
from clipcal.calibrate.cuts.targets import Goal
from clipcal.calibrate.heads.learned import Learned, learn
from clipcal.calibrate.labels.matching import Match, match_images
from clipcal.calibrate.labels.merge import merge_tables
from clipcal.calibrate.labels.table import BINARY, UNKNOWN, LabelTable, read_labels
from clipcal.calibrate.near import MOST_COMPARED, clusters_of
from clipcal.calibrate.plan import CalibrationPlan
from clipcal.calibrate.records import Sampling
from clipcal.calibrate.sampling.design import sample_design
from clipcal.calibrate.scoring.corpus_scores import CorpusScores, score_corpus
from clipcal.calibrate.scoring.rules import ScoreRule, rule_for
from clipcal.calibrate.scoring.under_contract import TextSource, prompt_vectors, with_heads
from clipcal.errors import CalibrationError
from clipcal.index.store import Corpus
from clipcal.prompts.encode import PromptVectors
from clipcal.prompts.promptset import PromptSet


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Scores and labels, before anything is fitted.

    Attributes
    ----------
    corpus : Corpus
        The corpus.
    prompts : PromptVectors
        The prompt set with its text vectors.
    rule : ScoreRule
        How similarities become scores.
    scored : CorpusScores
        The whole corpus.
    table : LabelTable
        The label file.
    match : Match
        Where its images are in the corpus.
    sample : Sample
        The labelled images that are fitted to.
    images : int
        Distinct labelled images, those that were learned from included.
    sampling : Sampling
        How they came to be labelled.
    learned : Learned or None
        What was learned from other labelled images.
    notes : tuple of str
        What was aggregated, merged, guessed or ignored.
    """

    corpus: Corpus
    prompts: PromptVectors
    rule: ScoreRule
    scored: CorpusScores
    table: LabelTable
    match: Match
    sample: Sample
    images: int
    sampling: Sampling
    learned: Learned | None
    notes: tuple[str, ...]


def read_tables(
    labels: Sequence[Path], prompt_set: PromptSet, goal: Goal, plan: CalibrationPlan
) -> LabelTable:
    """Read the label files as one; none at all will do for a budget.

    Raises
    ------
    LabelError
        If a file cannot be understood, or two differ in their levels.
    CalibrationError
        If there is none, and something else is asked for.
    """
    names = [category.name for category in prompt_set.categories]
    if labels:
        return merge_tables(
            [
                read_labels(file, categories=names, levels=prompt_set.levels, aggregate=plan.raters)
                for file in labels
            ]
        )
    if goal.target.kind != "budget":
        raise CalibrationError(
            f"{goal.target} needs people's labels; only a budget of flags does not. Name them: "
            f"clipcal calibrate --labels FILE.csv, or: clipcal calibrate --target budget=500"
        )
    levels = prompt_set.levels or BINARY
    nothing = np.empty((0, len(names)), np.int8)
    return LabelTable((), tuple(names), tuple(levels), nothing, (), (), "", "")


def refuse_tuned(corpus: Corpus, prompt_set: PromptSet, table: LabelTable, goal: Goal) -> None:
    """Refuse a guarantee from the labels on which the prompts were chosen."""
    if not goal.target.guaranteed or not table.sha256:
        return
    chosen_on = (corpus.noted(f"tuned:{prompt_set.sha256}") or "").split()
    if not {table.sha256, *table.parts}.isdisjoint(chosen_on):
        raise CalibrationError(
            f"The prompt set {prompt_set.name} was chosen on these very labels ({table.source}), "
            f"so that they flatter it: no {goal.target} can be guaranteed from them. Use labels "
            f"of other images, or do without a guarantee: "
            f"clipcal calibrate --labels {table.source} --target f1"
        )


def gather_material(
    corpus: Corpus,
    prompt_set: PromptSet,
    table: LabelTable,
    source: TextSource,
    plan: CalibrationPlan,
) -> Material:
    """Score a corpus, find the labelled images in it, and learn where that was asked for.

    Parameters
    ----------
    corpus : Corpus
        The corpus.
    prompt_set : PromptSet
        The categories.
    table : LabelTable
        The labels.
    source : TextSource
        Where text vectors come from.
    plan : CalibrationPlan
        What is asked for.

    Returns
    -------
    Material
        What a calibration is fitted to.

    Raises
    ------
    CalibrationError
        If no labelled image is in the corpus.
    """
    vectors = prompt_vectors(corpus, prompt_set, source)
    rule = rule_for(plan.rule, corpus.model, source.model)
    scored = score_corpus(corpus, vectors, rule)
    match = match_images(table.images, scored.uris, scored.sha256s)
    sample, merged = gather(scored.scores, scored.categories, table, match, scored.rows)
    sample, sampling, drawn = _as_drawn(corpus, scored, sample)
    notes = (*table.notes, *_by_name(match), *merged, *drawn)
    material = Material(
        corpus, vectors, rule, scored, table, match, sample, len(sample), sampling, None, notes
    )
    return _learning(material, plan) if plan.learn else material


def _as_drawn(
    corpus: Corpus, scored: CorpusScores, sample: Sample
) -> tuple[Sample, Sampling, tuple[str, ...]]:
    """Add how the images came to be labelled, and which are near copies of each other."""
    rows = scored.rows[sample.places]
    live = np.unique(scored.rows)
    design = sample_design(corpus, rows, live=live)
    notes = list(design.notes)
    if corpus.rounds():
        sample = _weighted(corpus, scored, sample, live)
    if len(rows) > MOST_COMPARED:
        notes.append(
            f"With more than {MOST_COMPARED:,} labelled images, near copies are not looked for; "
            f"exact ones count once."
        )
    sample = replace(sample, clusters=clusters_of(corpus, rows))
    near = len(rows) - len(np.unique(sample.clusters))
    if near:
        notes.append(f"{near} labelled images are near copies of others, and never divided.")
    if design.picked:
        notes.append(
            f"{design.picked} labelled images were picked for their scores: they are weighted in "
            f"estimates, and left out of guarantees."
        )
    sampling = Sampling(given=design.given, audit=design.audit, picked=design.picked)
    return sample, sampling, tuple(notes)


def _weighted(
    corpus: Corpus, scored: CorpusScores, sample: Sample, live: NDArray[np.int64]
) -> Sample:
    """Weight the images of each category by how they came to be labelled in it."""
    weights, uniform = sample.weights.copy(), sample.uniform.copy()
    for column, category in enumerate(scored.categories):
        known = sample.values[:, column] != UNKNOWN
        design = sample_design(corpus, scored.rows[sample.places[known]], category, live=live)
        weights[known, column], uniform[known, column] = design.weights, design.uniform
    return replace(sample, weights=weights, uniform=uniform)


def _learning(material: Material, plan: CalibrationPlan) -> Material:
    """Score with what is learned, and keep only the labels that it was not learned from."""
    corpus, sample = material.corpus, material.sample
    learned = learn(
        sample,
        corpus.shards.take(material.scored.rows[sample.places]).astype(np.float32),
        material.prompts,
        material.scored.categories,
        seed=plan.seed,
        confidence=plan.confidence,
    )
    scored = with_heads(material.scored, corpus, learned.heads)
    sample = replace(sample, scores=scored.scores[sample.places])[learned.rest]
    notes = (*material.notes, *_on_learning(learned))
    return replace(material, scored=scored, sample=sample, learned=learned, notes=notes)


def _on_learning(learned: Learned) -> tuple[str, ...]:
    used, left = np.count_nonzero(~learned.rest), np.count_nonzero(learned.rest)
    found = ", ".join(learned.heads) or "no category"
    return (
        f"{used:,} labelled images were learned from; thresholds are fitted to the other {left:,}.",
        f"A learned score is better out of fold, and is used, for: {found}.",
    )


def _by_name(match: Match) -> tuple[str, ...]:
    """Note the images that were found in another folder or with another suffix."""
    if not match.by_name:
        return ()
    found = "1 image was" if len(match.by_name) == 1 else f"{len(match.by_name):,} images were"
    return (f"{found} found by file name alone, such as {match.by_name[0]}.",)

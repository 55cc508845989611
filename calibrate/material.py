"""What a calibration is made from: the scores of a corpus, and the labels among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from clipcal.calibrate.cuts.sample import Sample, gather
from clipcal.calibrate.cuts.targets import Goal
from clipcal.calibrate.heads.learned import Learned, learn
from clipcal.calibrate.labels.matching import Match, match_images
from clipcal.calibrate.labels.merge import merge_tables
from clipcal.calibrate.labels.table import BINARY, LabelTable, read_labels
from clipcal.calibrate.plan import CalibrationPlan
from clipcal.calibrate.records import Sampling
from clipcal.calibrate.sampling.backing import backing_of
from clipcal.calibrate.scoring.corpus_scores import CorpusScores, score_corpus
from clipcal.calibrate.scoring.rules import ScoreRule, rule_for
from clipcal.calibrate.scoring.under_contract import TextSource, prompt_vectors, with_heads
from clipcal.errors import CalibrationError
from clipcal.index.store import Corpus
from clipcal.prompts.matrix import PromptVectors
from clipcal.prompts.promptset import PromptSet

_LOOKED_AT = 50


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
        Distinct images with a label, those that were learned from included.
    sampling : Sampling
        How they came to be labelled.
    learned : Learned or None
        What was learned from other labelled images.
    population : str
        Which images guarantees speak of, where not of the whole corpus.
    notes : tuple of str
        What was aggregated, merged, guessed or ignored.
    warnings : tuple of str
        What limits guarantees.
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
    population: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def read_tables(
    labels: Sequence[Path], prompt_set: PromptSet, goal: Goal, plan: CalibrationPlan
) -> LabelTable:
    """Read the label files as one; none at all will do for a budget, or for placed thresholds.

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
    refuse_unlabelled(goal, plan)
    levels = prompt_set.levels or BINARY
    nothing = np.empty((0, len(names)), np.int8)
    return LabelTable((), tuple(names), tuple(levels), nothing, (), (), "", "")


def refuse_unlabelled(goal: Goal, plan: CalibrationPlan) -> None:
    """Raise CalibrationError if what is asked for cannot do without any label."""
    if goal.target.kind == "budget" or plan.placed:
        return
    raise CalibrationError(
        f"{goal.target} needs people's labels; only a budget of flags, or thresholds placed by "
        f"hand, do not. Name them: clipcal calibrate --labels FILE.csv, or: "
        f"clipcal calibrate --target budget=500"
    )


def gather_material(
    corpus: Corpus,
    prompt_set: PromptSet,
    table: LabelTable,
    source: TextSource,
    plan: CalibrationPlan,
    labels: str,
    match: Match | None = None,
    scored: CorpusScores | None = None,
    *,
    keep: bool = True,
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
    labels : str
        The label files, as a shell takes them.
    match : Match, optional
        Where the labelled images are, if that is known; else they are looked for by their names.
    scored : CorpusScores, optional
        The corpus's scores by this prompt set and rule, where they are at hand.
    keep : bool
        Whether what is computed for it is kept on the disk.

    Returns
    -------
    Material
        What a calibration is fitted to.

    Raises
    ------
    CalibrationError
        If no labelled image is in the corpus, a guarantee is asked for of labels that cannot
        give it, or `match` is of the corpus as it was before.
    """
    vectors = prompt_vectors(corpus, prompt_set, source, keep=keep)
    rule = rule_for(plan.rule, corpus.model, source.model)
    scored = scored or score_corpus(corpus, vectors, rule, keep=keep)
    if match is None:
        match = match_images(table.images, scored.uris, scored.sha256s)
    else:
        _refuse_moved(match, table, scored)
    sample, merged = gather(scored.scores, scored.categories, table, match, scored.rows)
    backing = backing_of(
        corpus, scored, sample, prompt_set, table.levels, plan.goal, labels, keep=keep
    )
    material = Material(
        corpus,
        vectors,
        rule,
        scored,
        table,
        match,
        backing.sample,
        backing.images,
        backing.sampling,
        None,
        backing.population,
        (*table.notes, *_by_name(match), *merged, *backing.notes),
        backing.warnings,
    )
    return _learning(material, plan, keep=keep) if plan.learn else material


def _refuse_moved(match: Match, table: LabelTable, scored: CorpusScores) -> None:
    """Refuse places that were told before images went or came back; some, and the last, tell."""
    order = np.argsort(match.rows)
    some = np.unique(np.linspace(0, max(len(order) - 1, 0), _LOOKED_AT).astype(np.int64))
    for labelled in order[some[: len(order)]].tolist():
        place, image = int(match.rows[labelled]), table.images[labelled]
        there = scored.uris[place] if place < len(scored.uris) else ""
        if image != there and not image.startswith("file://"):
            raise CalibrationError(
                f"The corpus changed while its labels were read: {image} is not where it was. "
                f"Run it again: clipcal calibrate"
            )


def _learning(material: Material, plan: CalibrationPlan, *, keep: bool) -> Material:
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
    scored = with_heads(material.scored, corpus, learned.heads, keep=keep)
    sample = replace(sample, scores=scored.scores[sample.places])[learned.rest]
    return replace(
        material,
        scored=scored,
        sample=sample,
        learned=learned,
        population=material.population or "those that nothing was learned from",
        notes=(*material.notes, *_on_learning(learned)),
    )


def _on_learning(learned: Learned) -> tuple[str, ...]:
    used, left = np.count_nonzero(~learned.rest), np.count_nonzero(learned.rest)
    found = ", ".join(learned.heads)
    better = f"A learned score is better out of fold, and is used, for: {found}."
    return (
        f"{used:,} labelled images were learned from; thresholds are fitted to the other {left:,}.",
        better
        if found
        else "No learned score is surely better: do without --learn, and "
        "thresholds are fitted to all labels.",
    )


def _by_name(match: Match) -> tuple[str, ...]:
    """Note the images that were found in another folder or with another suffix."""
    if not match.by_name:
        return ()
    found = "1 image was" if len(match.by_name) == 1 else f"{len(match.by_name):,} images were"
    return (f"{found} found by file name alone, such as {match.by_name[0]}.",)

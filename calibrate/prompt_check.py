"""What each sentence of a prompt set is worth, measured on labelled images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from clipcal.calibrate.cuts.sample import Sample, gather
from clipcal.calibrate.labels.matching import Match, match_images
from clipcal.calibrate.labels.table import UNKNOWN, LabelTable, read_labels
from clipcal.calibrate.near import MOST_COMPARED, clusters_of
from clipcal.calibrate.sampling.design import sample_design
from clipcal.calibrate.sampling.tuned import remember_tuned
from clipcal.calibrate.scoring.corpus_scores import CorpusScores, score_corpus, similarities
from clipcal.calibrate.scoring.under_contract import TextSource, prompt_vectors
from clipcal.calibrate.sentence_check import CategoryCheck, check_categories
from clipcal.calibrate.statistics.bounds import check_rate
from clipcal.index.store import Corpus
from clipcal.prompts.promptset import PromptSet, load_prompt_set

_AREAS: Final = "areas are those among the labelled images, and differ from the corpus's."


@dataclass(frozen=True, slots=True)
class PromptCheck:
    """A prompt set, checked on a label file.

    Attributes
    ----------
    prompt_set : PromptSet
        The set.
    labels, labels_sha256 : str
        Name and hash of the label file.
    rows : tuple of int
        The distinct contents that it was checked on, as rows of the embeddings.
    confidence : float
        Of every interval, one category at a time.
    seed : int
        Of the folds.
    categories : tuple of CategoryCheck
        In the set's order.
    match : Match
        Which rows of the label file found which images.
    notes : tuple of str
        What was aggregated, merged, guessed or ignored.
    """

    prompt_set: PromptSet
    labels: str
    labels_sha256: str
    rows: tuple[int, ...]
    confidence: float
    seed: int
    categories: tuple[CategoryCheck, ...]
    match: Match
    notes: tuple[str, ...]

    @property
    def images(self) -> int:
        """How many distinct images with a label the corpus holds."""
        return len(self.rows)

    @property
    def trimmed(self) -> PromptSet | None:
        """The set with the recommended choices; None where none is recommended."""
        choices = [check.choice for check in self.categories]
        if not any(choice and choice.recommended for choice in choices):
            return None
        categories = (
            replace(category, prompts=choice.prompts, against=choice.against)
            if choice and choice.recommended
            else category
            for category, choice in zip(self.prompt_set.categories, choices, strict=True)
        )
        name = f"{self.prompt_set.name.removesuffix('-trimmed')}-trimmed"
        return replace(self.prompt_set, name=name, categories=tuple(categories))

    def remember(self, corpus: Corpus) -> None:
        """Note with the corpus on which images the trimmed set was chosen.

        A guarantee from their labels would flatter it, in whatever file they are. Images that
        the set it was trimmed from had been chosen on count too.
        """
        if self.trimmed is not None:
            before = (self.prompt_set.sha256, self.trimmed.sha256)
            remember_tuned(corpus, self.trimmed.sha256, self.rows, before)


def check_prompts(
    corpus: Corpus,
    prompts: str,
    labels: Path,
    *,
    source: TextSource | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> PromptCheck:
    """Measure every sentence of a prompt set on labelled images; nothing is kept.

    Parameters
    ----------
    corpus : Corpus
        The corpus.
    prompts : str
        A prompt set's name or file.
    labels : pathlib.Path
        People's labels, of any of the kinds that `read_labels` reads.
    source : TextSource, optional
        Where text vectors come from.
    confidence : float
        Of intervals, in (0, 1).
    seed : int
        Of the folds.

    Returns
    -------
    PromptCheck
        Category by category.

    Raises
    ------
    PromptError
        If there is no such set, or a sentence has no vector.
    LabelError
        If the label file cannot be understood.
    CalibrationError
        If no labelled image is in the corpus.
    """
    check_rate(confidence, "confidence")
    prompt_set = load_prompt_set(prompts)
    names = [category.name for category in prompt_set.categories]
    table = read_labels(labels, categories=names, levels=prompt_set.levels)
    vectors = prompt_vectors(corpus, prompt_set, source or TextSource())
    scored = score_corpus(corpus, vectors)
    match = match_images(table.images, scored.uris, scored.sha256s)
    sample, notes = _gathered(corpus, scored, table, match)
    known = (sample.values != UNKNOWN).any(axis=1)
    cosines = similarities(corpus, vectors, scored.rows[sample.places])
    checks = check_categories(
        cosines, sample.values, sample.clusters, vectors, confidence=confidence, seed=seed
    )
    return PromptCheck(
        prompt_set=prompt_set,
        labels=table.source,
        labels_sha256=table.sha256,
        rows=tuple(scored.rows[sample.places[known]].tolist()),
        confidence=confidence,
        seed=seed,
        categories=checks,
        match=match,
        notes=(*table.notes, *notes),
    )


def _gathered(
    corpus: Corpus, scored: CorpusScores, table: LabelTable, match: Match
) -> tuple[Sample, tuple[str, ...]]:
    """The labelled images, each content once, with near copies in clusters."""
    sample, notes = gather(scored.scores, scored.categories, table, match, scored.rows)
    rows = scored.rows[sample.places]
    sample = replace(sample, clusters=clusters_of(corpus, rows))
    if len(rows) > MOST_COMPARED:
        notes = (*notes, f"Near copies are not looked for in more than {MOST_COMPARED:,} images.")
    return sample, (*notes, *_on_choice(corpus, scored, sample))


def _on_choice(corpus: Corpus, scored: CorpusScores, sample: Sample) -> Iterator[str]:
    """Note the labels of images that were seen for their scores: areas are of what is labelled."""
    rows, known = scored.rows[sample.places], sample.values != UNKNOWN
    picked = sample_design(corpus, rows).picked
    if picked:
        yield f"{picked} labelled images were picked for their scores: {_AREAS}"
    chosen = sum(
        sample_design(corpus, rows[known[:, column]], category).chosen
        for column, category in enumerate(scored.categories)
    )
    if chosen:
        labels = "1 label is" if chosen == 1 else f"{chosen:,} labels are"
        yield (
            f"{labels} of images chosen for their scores (flagged, near a threshold, or found by "
            f"a search): {_AREAS}"
        )

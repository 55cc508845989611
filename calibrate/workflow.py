"""From a corpus and a label file to a contract, and from a contract back to scores.

This is where the arrays of :mod:`clipcal.calibrate.fit` meet the corpus on disk; the command
line, and whatever else serves people, calls these functions and prints.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from clipcal import __version__
from clipcal.calibrate.contract import Contract, Fingerprint, KeptPromptSet, Labels, check
from clipcal.calibrate.corpus_scores import CorpusScores, score_corpus
from clipcal.calibrate.fit import fit
from clipcal.calibrate.labels.table import UNKNOWN, LabelTable, Match, match_images, read_labels
from clipcal.calibrate.thresholds import parse_target
from clipcal.index.store import Corpus
from clipcal.prompts.encode import PromptVectors, build
from clipcal.prompts.promptset import PromptSet, load_prompt_set
from clipcal.prompts.resolve import default_set, set_vectors

SCORE_RULE = "margin"
PROMPTS_NOTE = "prompts"


@dataclass(frozen=True, slots=True)
class TextSource:
    """Where text vectors come from.

    Attributes
    ----------
    file : pathlib.Path or None
        Vectors made before; then no text encoder is needed.
    model : str or None
        Where the corpus's bundle lies now, if it moved.
    device : {"auto", "cpu", "cuda"}
        Where the text encoder runs.
    """

    file: Path | None = None
    model: str | None = None
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class CalibrationPlan:
    """What a calibration is to attain.

    Attributes
    ----------
    target : str
        ``recall=R`` or ``f1``.
    confidence : float
        Of guarantees and intervals.
    holdout : float
        Share of the labelled images kept out, for an evaluation without optimism.
    seed : int
        Of that split.
    """

    target: str = "recall=0.9"
    confidence: float = 0.95
    holdout: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A fitted contract and what happened to the label file on the way.

    Attributes
    ----------
    contract : Contract
        The calibration.
    match : Match
        Which rows of the label file found which images.
    notes : tuple of str
        What was aggregated, merged, guessed or ignored.
    labels : dict
        The known labels of the corpus's images, as uri → category → level.
    prompts : str or None
        The prompt set that was named.
    """

    contract: Contract
    match: Match
    notes: tuple[str, ...]
    labels: dict[str, dict[str, str]]
    prompts: str | None = None

    def keep(self, corpus: Corpus) -> None:
        """Keep labels and prompt set with the corpus; to be called once the contract is saved."""
        corpus.replace_labels(self.labels)
        if self.prompts is not None:
            remember_prompt_set(corpus, self.prompts)


def choose_prompt_set(corpus: Corpus, name: str | None) -> PromptSet:
    """Load the prompt set called `name`, or the one that the corpus was last calibrated with.

    Parameters
    ----------
    corpus : Corpus
        Remembers its prompt set.
    name : str or None
        A packaged set or a file.

    Returns
    -------
    PromptSet
        The set; the packaged one that suits the corpus's model where nothing was remembered.

    Raises
    ------
    PromptError
        If there is no such set or it is wrong.
    """
    remembered = corpus.noted(PROMPTS_NOTE) or default_set(corpus.model)
    return load_prompt_set(name or remembered)


def remember_prompt_set(corpus: Corpus, name: str) -> None:
    """Make `name` the corpus's own prompt set; a file is remembered by its absolute path."""
    path = Path(name)
    corpus.note(PROMPTS_NOTE, str(path.resolve()) if path.is_file() else name)


def prompt_vectors(corpus: Corpus, prompt_set: PromptSet, source: TextSource) -> PromptVectors:
    """Find the text vectors of a prompt set in the space of the corpus's model.

    Raises
    ------
    FingerprintMismatch
        If they are of another model.
    PromptError
        If a sentence has no vector.
    BundleError
        If a text encoder is needed and not at hand.
    """
    found = set_vectors(
        prompt_set, corpus.model, file=source.file, model=source.model, device=source.device
    )
    return build(prompt_set, found)


def fingerprint_of(corpus: Corpus, prompt_set: PromptSet) -> Fingerprint:
    """Name what decides the scores of a corpus under a prompt set."""
    return Fingerprint(
        model=corpus.model.fingerprint,
        preprocessing=corpus.model.preprocessing,
        prompts=prompt_set.sha256,
        score_rule=SCORE_RULE,
    )


def score_with(
    corpus: Corpus, prompts: str | None = None, source: TextSource | None = None
) -> CorpusScores:
    """Score a corpus under a prompt set; see :func:`choose_prompt_set` for which."""
    prompt_set = choose_prompt_set(corpus, prompts)
    return score_corpus(corpus, prompt_vectors(corpus, prompt_set, source or TextSource()))


def prompt_set_of(contract: Contract, prompts: str | None = None) -> PromptSet:
    """Load the prompt set called `prompts`, or the one that a contract keeps."""
    return contract.prompt_set.parse() if prompts is None else load_prompt_set(prompts)


def scores_under_contract(
    corpus: Corpus,
    contract: Contract,
    *,
    prompts: str | None = None,
    source: TextSource | None = None,
) -> CorpusScores:
    """Score a corpus as a contract demands.

    Parameters
    ----------
    corpus : Corpus
        The corpus.
    contract : Contract
        The calibration that is to be applied.
    prompts : str, optional
        A prompt set, which must score as the contract's own; that one is used by default.
    source : TextSource, optional
        Where text vectors come from.

    Returns
    -------
    CorpusScores
        Scores that the contract's thresholds may be compared with.

    Raises
    ------
    FingerprintMismatch
        If model, preprocessing, prompts or score rule are not those of the contract.
    """
    prompt_set = prompt_set_of(contract, prompts)
    check(contract.fingerprint, fingerprint_of(corpus, prompt_set), contract.prompt_set.name)
    return score_corpus(corpus, prompt_vectors(corpus, prompt_set, source or TextSource()))


def calibrate_corpus(
    corpus: Corpus,
    labels: Path,
    *,
    prompts: str | None = None,
    source: TextSource | None = None,
    plan: CalibrationPlan | None = None,
) -> Calibrated:
    """Fit a calibration to a label file; the corpus stays as it is until `Calibrated.keep`.

    Parameters
    ----------
    corpus : Corpus
        The corpus.
    labels : pathlib.Path
        People's label file, of any of the kinds that :func:`read_labels` reads.
    prompts : str, optional
        The prompt set.
    source : TextSource, optional
        Where text vectors come from.
    plan : CalibrationPlan, optional
        What to attain; recall 0.9 with 95% confidence by default.

    Returns
    -------
    Calibrated
        The contract, the match and notes. Rows that match no image are in the match.

    Raises
    ------
    LabelError
        If the label file cannot be understood.
    CalibrationError
        If the target is none, or no labelled image is in the corpus.
    """
    plan = plan or CalibrationPlan()
    target = parse_target(plan.target)
    prompt_set = choose_prompt_set(corpus, prompts)
    names = [category.name for category in prompt_set.categories]
    table = read_labels(labels, categories=names, levels=prompt_set.levels)
    vectors = prompt_vectors(corpus, prompt_set, source or TextSource())
    scored = score_corpus(corpus, vectors)
    match = match_images(table.images, scored.uris, scored.sha256s)
    fitted = fit(
        scored.scores,
        scored.categories,
        table,
        match,
        target,
        plan.confidence,
        holdout=plan.holdout,
        seed=plan.seed,
        groups=scored.rows,
        sentences={category.name: category.prompts[0] for category in prompt_set.categories},
    )
    contract = Contract(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        clipcal=__version__,
        model=corpus.model.name,
        fingerprint=fingerprint_of(corpus, prompt_set),
        prompt_set=KeptPromptSet.of(prompt_set),
        labels=Labels(name=table.source, sha256=table.sha256, images=fitted.images),
        levels=fitted.levels,
        confidence=plan.confidence,
        target=str(target),
        seed=plan.seed,
        holdout=fitted.holdout,
        categories=fitted.cuts,
    )
    notes = (*table.notes, *_by_name(match), *fitted.notes)
    return Calibrated(contract, match, notes, _by_uri(table, match, scored), prompts)


def _by_name(match: Match) -> tuple[str, ...]:
    """Note the images that were found in another folder or with another suffix."""
    if not match.by_name:
        return ()
    found = "1 image was" if len(match.by_name) == 1 else f"{len(match.by_name):,} images were"
    return (f"{found} found by file name alone, such as {match.by_name[0]}.",)


def _by_uri(table: LabelTable, match: Match, scored: CorpusScores) -> dict[str, dict[str, str]]:
    """The known labels of matched images, as uri → category → level."""
    kept: dict[str, dict[str, str]] = {}
    for image, row in enumerate(match.rows.tolist()):
        if row < 0:
            continue
        values = zip(table.categories, table.values[image].tolist(), strict=True)
        known = {category: table.levels[value] for category, value in values if value != UNKNOWN}
        kept.setdefault(scored.uris[row], {}).update(known)
    return kept

"""The scores of a corpus that a command asks for: which prompts, which rule, which contract."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.contract import Contract, Fingerprint, check
from clipcal.calibrate.heads.head import Head
from clipcal.calibrate.scoring.corpus_scores import CorpusScores, score_corpus
from clipcal.calibrate.scoring.rules import ScoreRule
from clipcal.files import replacing
from clipcal.index.store import Corpus
from clipcal.prompts.matrix import PromptVectors, build
from clipcal.prompts.promptset import PromptSet, load_prompt_set
from clipcal.prompts.resolve import default_set, set_vectors

PROMPTS_NOTE = "prompts"
_KEPT: Final = 4

Columns = NDArray[np.float32]  # (rows, heads)


@dataclass(frozen=True, slots=True)
class TextSource:
    """Where text vectors come from.

    Attributes
    ----------
    file : pathlib.Path or None
        Vectors made before; then no text encoder is needed.
    model : str or None
        Where the corpus's bundle lies now, if it moved.
    device : str
        One of :data:`clipcal.models.session.DEVICES`: where the text encoder runs.
    """

    file: Path | None = None
    model: str | None = None
    device: str = "auto"


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


def prompt_vectors(
    corpus: Corpus, prompt_set: PromptSet, source: TextSource, *, keep: bool = True
) -> PromptVectors:
    """Find the text vectors of a prompt set in the space of the corpus's model.

    Without `keep` sentences that are encoded for it are not kept for the next time.

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
        prompt_set,
        corpus.model,
        file=source.file,
        model=source.model,
        device=source.device,
        keep=keep,
    )
    return build(prompt_set, found)


def fingerprint_of(corpus: Corpus, prompt_set: PromptSet, rule: ScoreRule) -> Fingerprint:
    """Name what decides the scores of a corpus under a prompt set."""
    return Fingerprint(
        model=corpus.model.fingerprint,
        preprocessing=corpus.model.preprocessing,
        prompts=prompt_set.sha256,
        score_rule=str(rule),
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
        Scores that the contract's thresholds may be compared with: by its rule, and by its
        learned heads where it has some.

    Raises
    ------
    FingerprintMismatch
        If model, preprocessing, prompts or score rule are not those of the contract.
    """
    vectors, rule = terms_of(corpus, contract, prompts=prompts, source=source)
    return with_heads(score_corpus(corpus, vectors, rule), corpus, contract.heads)


def terms_of(
    corpus: Corpus,
    contract: Contract,
    *,
    prompts: str | None = None,
    source: TextSource | None = None,
    keep: bool = True,
) -> tuple[PromptVectors, ScoreRule]:
    """Find the text vectors and the score rule that a contract demands.

    Parameters, and what is raised, are those of :func:`scores_under_contract`; `keep` is that of
    :func:`prompt_vectors`.
    """
    prompt_set = prompt_set_of(contract, prompts)
    rule = ScoreRule.parse(contract.fingerprint.score_rule)
    ours = fingerprint_of(corpus, prompt_set, rule)
    check(contract.fingerprint, ours, contract.prompt_set.name)
    return prompt_vectors(corpus, prompt_set, source or TextSource(), keep=keep), rule


def with_heads(
    scored: CorpusScores, corpus: Corpus, heads: Mapping[str, Head], *, keep: bool = True
) -> CorpusScores:
    """Put learned scores in the place of the rule's, in the categories that have them.

    They are kept beside the corpus, so that a new threshold reads no embedding.

    Parameters
    ----------
    scored : CorpusScores
        By the score rule.
    corpus : Corpus
        Holds the embeddings.
    heads : mapping of str to Head
        By category.
    keep : bool
        Whether they are kept; else nothing is written, and those that are kept are read only.

    Returns
    -------
    CorpusScores
        The same images, with other columns.
    """
    if not heads:
        return scored
    plain = np.zeros((corpus.rows, len(heads)), np.float32)
    columns = [scored.categories.index(category) for category in heads]
    plain[scored.rows] = scored.scores[:, columns]
    scores = scored.scores.copy()
    learned = _learned_scores(corpus, list(heads.values()), plain, keep=keep)
    scores[:, columns] = learned[scored.rows]
    return replace(scored, scores=scores)


def _learned_scores(
    corpus: Corpus, heads: Sequence[Head], plain: Columns, *, keep: bool
) -> Columns:
    """Score every row with each head, or take what was kept of the same heads, rows and scores."""
    digest = hashlib.sha256(json.dumps([asdict(head) for head in heads], sort_keys=True).encode())
    digest.update(corpus.chain(corpus.rows).encode() + plain.tobytes())
    file = corpus.path / "scores" / f"head-{digest.hexdigest()[:24]}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):
        kept: Columns = np.load(file)
        if kept.shape == plain.shape and kept.dtype == np.float32:
            if keep:
                with contextlib.suppress(OSError):
                    os.utime(file)  # those used longest ago are the first to go
            return kept
    learned = _score(corpus, heads, plain)
    if keep:
        with contextlib.suppress(OSError):  # a corpus that can only be read is not cached
            _keep(file, learned)
    return learned


def _score(corpus: Corpus, heads: Sequence[Head], plain: Columns) -> Columns:
    learned = np.empty_like(plain)
    for start, block in corpus.shards.blocks(corpus.rows, start=0):
        rows = slice(start, start + len(block))
        embeddings = block.astype(np.float32)
        for number, head in enumerate(heads):
            learned[rows, number] = head.score(embeddings, plain[rows, number])
    return learned


def _keep(file: Path, learned: Columns) -> None:
    file.parent.mkdir(exist_ok=True)
    with replacing(file) as part, part.open("wb") as stream:
        np.save(stream, learned)
    kept = sorted(file.parent.glob("head-*.npy"), key=lambda f: f.stat().st_mtime, reverse=True)
    for old in kept[_KEPT:]:
        old.unlink()

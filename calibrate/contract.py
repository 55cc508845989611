"""A calibration as it is kept: thresholds, what they promise, and what they were fitted to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from clipcal.calibrate.heads.head import Head, HeadComparison
from clipcal.calibrate.records import (
    Cut,
    Evaluation,
    OverallModel,
    Record,
    Reference,
    Sampling,
)
from clipcal.calibrate.statistics.agreement.category import CategoryAgreement
from clipcal.calibrate.statistics.probability import ClassTemperature
from clipcal.errors import CalibrationError, FingerprintMismatch
from clipcal.files import writing
from clipcal.prompts.promptset import PromptSet, parse_prompt_set

FORMAT_VERSION: Final = 2


class Fingerprint(Record):
    """What decides a score, besides the image.

    Attributes
    ----------
    model : str
        Fingerprint of the bundle that embedded the corpus.
    preprocessing : str
        How images became pixels.
    prompts : str
        Hash of the prompt set.
    score_rule : str
        How similarities became a score, such as ``margin``.
    """

    model: str
    preprocessing: str
    prompts: str
    score_rule: str


class NamedFile(Record):
    """What the calibration was fitted to, by name and hash."""

    name: str
    sha256: str


class KeptPromptSet(NamedFile):
    """The prompt set, whole: the user's file may change or go.

    Attributes
    ----------
    toml : str
        The set as `PromptSet.to_toml` writes it.
    """

    toml: str

    @classmethod
    def of(cls, prompt_set: PromptSet) -> KeptPromptSet:
        """Keep a prompt set."""
        return cls(name=prompt_set.name, sha256=prompt_set.sha256, toml=prompt_set.to_toml())

    def parse(self) -> PromptSet:
        """Read the set again; PromptError if it was changed into none."""
        return parse_prompt_set(self.toml, source=f"{self.name} in the calibration", format="toml")


class Labels(NamedFile):
    """The label file, and how many of its images the corpus holds."""

    images: int = Field(ge=0)


class Contract(Record):
    """The file ``calibration.json``.

    Attributes
    ----------
    format_version : int
        Of this file's layout.
    created : str
        When, in ISO 8601.
    clipcal : str
        The version that fitted it.
    model : str
        Name of the model.
    fingerprint : Fingerprint
        What the scores came from; `check` compares it with a corpus's own.
    prompt_set : KeptPromptSet
        The prompt set, whole.
    labels : Labels
        The label file.
    levels : tuple of str
        From low to high; ``("negative", "positive")`` for yes or no.
    confidence : float
        With which each guarantee holds, category by category.
    target : str
        What was asked for, such as ``recall=0.9``.
    block : str or None
        With three bands what was asked of the upper thresholds, such as ``precision=0.9``; None
        also in files that earlier versions wrote.
    seed : int
        Of the split into fitting and hold-out.
    joint : bool
        Whether all guarantees hold together with `confidence`, or each by itself.
    holdout : Evaluation or None
        On labelled images kept out.
    crossfit : Evaluation or None
        On labelled images left out in turn.
    sampling : Sampling or None
        How the labelled images were chosen.
    people : dict
        Per category how far raters agree; empty where there is one rating per image.
    heads : dict
        Learned scores by category; they stand in place of the score rule's.
    comparisons : dict
        Per category how a learned score did against the plain one, offered or not.
    temperature : ClassTemperature or None
        Where class probabilities were asked for.
    overall : OverallModel or None
        A fitted overall verdict; else the prompt set's rule serves.
    reference : Reference or None
        The scores at calibration.
    warnings : tuple of str
        What limits the guarantees, in sentences with the next command.
    categories : dict
        The cuts, by category and by level above the lowest.

    Notes
    -----
    The file also holds ``seal``, a hash of all the rest, so that a threshold changed by hand is
    noticed. It keeps honest people from mistakes; whoever means to deceive can seal anew.
    """

    format_version: Literal[2] = FORMAT_VERSION
    created: str
    clipcal: str
    model: str
    fingerprint: Fingerprint
    prompt_set: KeptPromptSet
    labels: Labels
    levels: tuple[str, ...] = Field(min_length=2)
    confidence: float = Field(gt=0, lt=1)
    target: str
    block: str | None = None
    seed: int
    joint: bool = False
    holdout: Evaluation | None = None
    crossfit: Evaluation | None = None
    sampling: Sampling | None = None
    people: dict[str, CategoryAgreement] = Field(default_factory=dict)
    heads: dict[str, Head] = Field(default_factory=dict)
    comparisons: dict[str, HeadComparison] = Field(default_factory=dict)
    temperature: ClassTemperature | None = None
    overall: OverallModel | None = None
    reference: Reference | None = None
    warnings: tuple[str, ...] = ()
    categories: dict[str, dict[str, Cut]]

    def save(self, path: Path) -> None:
        """Write the contract so that a reader sees the old file or the new one, never a part.

        Parameters
        ----------
        path : pathlib.Path
            The file; its folder must exist.

        Raises
        ------
        CalibrationError
            If it cannot be written.
        """
        again = "clipcal calibrate -o FILE.json"
        with writing(path, CalibrationError, "The calibration", again) as part:
            part.write_bytes(self.sealed().encode() + b"\n")

    def sealed(self) -> str:
        """Write the contract as JSON, with a hash of its content."""
        content = self.model_dump(mode="json")
        return json.dumps({"seal": _seal(content), **content}, indent=2, ensure_ascii=False)

    @classmethod
    def load(cls, path: Path) -> Contract:
        """Read a contract.

        Parameters
        ----------
        path : pathlib.Path
            The file.

        Returns
        -------
        Contract
            Its content.

        Raises
        ------
        CalibrationError
            If the file is missing, damaged, of another version, or was changed by hand.
        """
        try:
            content = json.loads(path.read_bytes())
            seal = content.pop("seal", None) if isinstance(content, dict) else None
            contract = cls.model_validate(content)
        except FileNotFoundError:
            raise CalibrationError(
                f"There is no calibration {path}. Fit one: clipcal calibrate --labels FILE.csv "
                f"-o {path}"
            ) from None
        except OSError as error:
            raise CalibrationError(
                f"The calibration {path} cannot be read ({error.strerror}). Name a file: "
                f"clipcal rescore --calibration FILE.json"
            ) from error
        except ValidationError as error:
            raise CalibrationError(
                f"{path} is no calibration that this version reads ({_first(error)}). "
                f"Fit it again: clipcal calibrate --labels FILE.csv -o {path}"
            ) from error
        except ValueError as error:
            raise CalibrationError(
                f"{path} is damaged ({error}). Fit it again: clipcal calibrate --labels FILE.csv "
                f"-o {path}"
            ) from error
        if seal != _seal(content):
            raise CalibrationError(
                f"{path} was changed after it was fitted (its seal does not fit its content), so "
                f"that it no longer stands for what it promises. Fit it again: "
                f"clipcal calibrate --labels FILE.csv -o {path}"
            )
        return contract


def _seal(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def check(fingerprint: Fingerprint, other: Fingerprint, prompt_set: str = "its own") -> None:
    """Refuse to apply a calibration to scores that come from something else.

    Parameters
    ----------
    fingerprint : Fingerprint
        Of the contract.
    other : Fingerprint
        Of the scores that it is to be applied to.
    prompt_set : str
        Name of the contract's prompt set, for the message.

    Raises
    ------
    FingerprintMismatch
        If a field differs; the message names it, with both values.
    """
    for field in Fingerprint.model_fields:
        ours, theirs = getattr(fingerprint, field), getattr(other, field)
        if ours != theirs:
            raise FingerprintMismatch(
                f"The calibration was fitted with {_FIELDS[field]} {_short(ours)}, the corpus is "
                f"scored with {_short(theirs)} ({field} differs). "
                f"{_REMEDIES[field].format(prompt_set=prompt_set)}"
            )


_FIELDS = {
    "model": "the model",
    "preprocessing": "the preprocessing",
    "prompts": "the prompt set",
    "score_rule": "the score rule",
}
_AGAIN = "Fit it for this corpus: clipcal calibrate --labels FILE.csv"
_REMEDIES = {
    "model": f"{_AGAIN}, or embed the images with that model: clipcal embed --model BUNDLE",
    "preprocessing": f"{_AGAIN}, or embed the images again: clipcal embed --model BUNDLE",
    "prompts": "Use the set that the calibration keeps ({prompt_set}), by leaving out --prompts; "
    "or fit it for this set: clipcal calibrate --labels FILE.csv --prompts SET",
    "score_rule": _AGAIN,
}


def _short(value: str) -> str:
    """Shorten a hash; leave a name as it is."""
    return value if len(value) <= 40 else f"{value[:12]}…"


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in detail["loc"])
    return f"{where}: {detail['msg']}" if where else detail["msg"]

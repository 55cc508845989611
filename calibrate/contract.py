"""A calibration as it is kept: thresholds, what they promise, and what they were fitted to."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clipcal.calibrate.statistics.bounds import Estimate
from clipcal.errors import CalibrationError, FingerprintMismatch
from clipcal.files import replacing
from clipcal.prompts.promptset import PromptSet, parse_prompt_set

FORMAT_VERSION: Final = 1

Status = Literal["certified", "estimated", "insufficient", "no_positives", "no_negatives"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Fingerprint(_Record):
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


class NamedFile(_Record):
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


class Cut(_Record):
    """A threshold for one category and level, and what is known of it.

    Attributes
    ----------
    status : str
        ``certified``: the guarantee holds. ``estimated``: the best in the sample (unless
        `lowered`), without a guarantee. ``insufficient``: too few positives for the guarantee
        that was asked for; the threshold only attains it in the sample. ``no_positives``,
        ``no_negatives``: one side has no labels, and there is no threshold.
    threshold : float or None
        Images that score at or above it are flagged.
    objective : str
        What was asked for, such as ``recall=0.9``.
    lowered : bool
        Whether the threshold was brought down to that of a higher level, so that the levels
        stay in order; it is then not the best in the sample.
    n, positives : int
        Labelled images, and positives among them.
    recall, precision : Estimate or None
        At the threshold, on the labels that it was fitted to; precision is None where there
        are no negatives or no flags. The hold-out evaluation is the one without optimism.
    flags : int or None
        How many images of the corpus it flags.
    guarantee : str or None
        The guarantee with its assumptions, as a sentence.
    further_positives, further_labels : int or None
        How many more positives a guarantee needs, and about how many images must be labelled
        to find them.
    next_step : str
        What to do now.
    """

    status: Status
    threshold: float | None
    objective: str
    lowered: bool = False
    n: int = Field(ge=0)
    positives: int = Field(ge=0)
    recall: Estimate | None = None
    precision: Estimate | None = None
    flags: int | None = None
    guarantee: str | None = None
    further_positives: int | None = None
    further_labels: int | None = None
    next_step: str


class HeldOut(_Record):
    """How one cut did on labelled images that it was not fitted to.

    Attributes
    ----------
    n, positives, flags : int
        Images, positives among them, and flags.
    recall, precision, f1 : Estimate or None
        None where there is nothing to divide by.
    """

    n: int
    positives: int
    flags: int
    recall: Estimate | None
    precision: Estimate | None
    f1: Estimate | None


class Evaluation(_Record):
    """How a calibration did on the labelled images that were kept out.

    Attributes
    ----------
    fraction : float
        The share of the labelled images that was kept out.
    images : int
        Their number.
    macro_f1 : float or None
        Mean F1 over the `macro_over` cuts with a threshold and with positives or flags.
    macro_over : int
        Number of cuts in the mean.
    categories : dict
        By category and level.
    """

    fraction: float
    images: int
    macro_f1: float | None
    macro_over: int
    categories: dict[str, dict[str, HeldOut]]


class Contract(_Record):
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
    seed : int
        Of the split into fitting and hold-out.
    holdout : Evaluation or None
        On labelled images kept out.
    categories : dict
        The cuts, by category and by level above the lowest.
    """

    format_version: Literal[1] = FORMAT_VERSION
    created: str
    clipcal: str
    model: str
    fingerprint: Fingerprint
    prompt_set: KeptPromptSet
    labels: Labels
    levels: tuple[str, ...] = Field(min_length=2)
    confidence: float = Field(gt=0, lt=1)
    target: str
    seed: int
    holdout: Evaluation | None = None
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
        try:
            with replacing(path) as part:
                part.write_bytes(self.model_dump_json(indent=2).encode() + b"\n")
        except OSError as error:
            raise CalibrationError(
                f"The calibration cannot be written to {path} ({error.strerror}). Name a file "
                f"in a folder that can be written to: clipcal calibrate -o FILE.json"
            ) from error

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
            If the file is missing, damaged, or of another version.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
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

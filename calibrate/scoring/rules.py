"""How similarities become a category's score: the default, and the rules of published work.

The margin is the default: no category's score depends on another category's prompts, and no
constant of the model enters. The others are there to repeat and to be compared with what others
have done; a contract names the one that its thresholds were fitted to.

References
----------
Radford, A., et al. (2021). Learning transferable visual models from natural language
supervision. *Proceedings of ICML* 38, 8748-8763. (Softmax of scaled cosines.)

Zhai, X., Mustafa, B., Kolesnikov, A., and Beyer, L. (2023). Sigmoid loss for language image
pre-training. *Proceedings of ICCV*, 11975-11986.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from clipcal.errors import CalibrationError, FingerprintMismatch
from clipcal.models.bundle import Manifest
from clipcal.models.identity import EXTERNAL, ModelIdentity
from clipcal.models.registry import find_bundle

RuleName = Literal["margin", "mean", "max", "softmax-contrast", "sigmoid", "softmax-all"]

RULE_NAMES: Final[tuple[RuleName, ...]] = get_args(RuleName)
CLIP_SCALE: Final = 100.0
"""Where CLIP's training clips the logit scale, and where it ends for most published weights."""

_PARAMETERS: Final[dict[RuleName, tuple[str, ...]]] = {
    "margin": (),
    "mean": (),
    "max": (),
    "softmax-contrast": ("scale",),
    "sigmoid": ("scale", "bias"),
    "softmax-all": ("scale",),
}
_WRITTEN = re.compile(r"\s*([a-z-]+)\s*(?:\(([^()]*)\))?\s*")


@dataclass(frozen=True, slots=True)
class ScoreRule:
    r"""A score rule, with the model's constants that it takes.

    With :math:`c_p` the cosine of an image with a prompt, :math:`P` a category's own prompts,
    :math:`N` its own contrasts, :math:`s` the scale and :math:`b` the bias, the rules are

    ``margin``
        :math:`\mathrm{pool}_P\, c - \mathrm{pool}_N\, c`, or the first term alone where there
        are no contrasts; pool is the category's own, the maximum or the mean.
    ``mean``, ``max``
        The mean or the maximum of :math:`c` over :math:`P`; contrasts are not used.
    ``softmax-contrast``
        The softmax of :math:`s\,c` over :math:`P \cup N`, summed over :math:`P`, as log-odds:
        :math:`\log\sum_P e^{s c} - \log\sum_N e^{s c}`.
    ``sigmoid``
        :math:`s\,\mathrm{pool}_P\, c + b`, the logit of SigLIP's sigmoid; contrasts are not used.
    ``softmax-all``
        The softmax of :math:`s\,c` over the own prompts of *all* categories, summed over
        :math:`P`, as log-odds; contrasts are not used.

    Attributes
    ----------
    name : str
        One of `RULE_NAMES`.
    scale : float or None
        The model's logit scale, positive. Where a rule takes one and has none yet, it cannot
        score; `rule_for` fills it in.
    bias : float or None
        The model's logit bias, for ``sigmoid``.

    Raises
    ------
    CalibrationError
        If there is no such rule, or a constant is given that it does not take, or is none.

    Notes
    -----
    The three last are given as logits, not as the probabilities that they are logits of. The
    logit is strictly increasing, so that every ranking and every decision at a threshold is that
    of the probability; but probabilities near 0 and 1 run into each other in float32, and a
    threshold with six decimals could not tell them apart, where their logits stay distinct.
    They are scores, not calibrated probabilities.

    In ``softmax-all`` a category's score moves when *another* category's prompts are changed, and
    an image that shows two things has to divide its share between them. It is there for
    comparison with published work only.
    """

    name: RuleName
    scale: float | None = None
    bias: float | None = None

    def __post_init__(self) -> None:
        if self.name not in RULE_NAMES:
            raise CalibrationError(
                f"There is no score rule {self.name!r}. Take one of {', '.join(RULE_NAMES)}, "
                f"such as margin, the default."
            )
        for key, value in (("scale", self.scale), ("bias", self.bias)):
            if value is not None:
                self._check(key, value)

    def __str__(self) -> str:
        """Write the rule as a contract names it, such as ``softmax-contrast(scale=100)``."""
        values = ((key, getattr(self, key)) for key in self.takes)
        known = ",".join(f"{key}={_shortest(value)}" for key, value in values if value is not None)
        return f"{self.name}({known})" if known else self.name

    @property
    def takes(self) -> tuple[str, ...]:
        """The model's constants that the rule takes: none, ``scale``, or ``scale, bias``."""
        return _PARAMETERS[self.name]

    @property
    def complete(self) -> bool:
        """Whether every constant that the rule takes is there."""
        return all(getattr(self, key) is not None for key in self.takes)

    @property
    def constants(self) -> tuple[float, float]:
        """Scale and bias of a complete rule; 1 and 0 where it takes none."""
        return (
            1.0 if self.scale is None else self.scale,
            0.0 if self.bias is None else self.bias,
        )

    @classmethod
    def parse(cls, text: str) -> ScoreRule:
        """Read a rule: the bare name, or the full form that ``str`` writes.

        Parameters
        ----------
        text : str
            Such as ``max`` or ``sigmoid(scale=112.5,bias=-16.5)``.

        Returns
        -------
        ScoreRule
            With ``str(parse(text)) == text`` for all that ``str`` writes; without constants
            where a bare name takes some.

        Raises
        ------
        CalibrationError
            If it is no rule.
        """
        found = _WRITTEN.fullmatch(text)
        if found is None:
            raise _unreadable(text)
        name, inner = found.groups()
        pairs = [part.partition("=")[::2] for part in inner.split(",")] if inner else []
        values: dict[str, float] = {}
        for key, number in ((key.strip(), number) for key, number in pairs):
            if key not in ("scale", "bias") or key in values:
                raise _unreadable(text)
            try:
                values[key] = float(number)
            except ValueError:
                raise _unreadable(text) from None
        return cls(cast(RuleName, name), **values)

    def _check(self, key: str, value: float) -> None:
        if key not in self.takes:
            raise CalibrationError(
                f"The score rule {self.name} takes no {key}. Write it without, as in: {self.name}"
            )
        if not math.isfinite(value) or (key == "scale" and value <= 0):
            wanted = "a positive number" if key == "scale" else "a finite number"
            raise CalibrationError(f"The {key} of {self.name} is {value:g}; it must be {wanted}.")


MARGIN: Final = ScoreRule("margin")
"""The default: margin against the category's own contrasts."""


def rule_for(name: str, model: ModelIdentity, bundle: str | None = None) -> ScoreRule:
    """Complete a rule with the constants of a corpus's model.

    Parameters
    ----------
    name : str
        A bare name, or a full form; what is written in full is taken as it is.
    model : ModelIdentity
        The corpus's model.
    bundle : str, optional
        Where its bundle lies, if it moved, or if the vectors were imported.

    Returns
    -------
    ScoreRule
        A complete rule. Scale and bias are those of the bundle's manifest. For imported vectors
        without a bundle nobody knows them: the scale is then 100, where CLIP's training clips
        it and most published weights have it, and the rule's text says so.

    Raises
    ------
    CalibrationError
        If there is no such rule, or it takes a bias and the model has none.
    BundleError
        If a constant is needed and the model's bundle is not where it was.
    FingerprintMismatch
        If the bundle is another model's.
    """
    rule = ScoreRule.parse(name)
    if rule.complete:
        return rule
    manifest = _manifest(model, bundle)
    scale, bias = (manifest.logit_scale, manifest.logit_bias) if manifest else (CLIP_SCALE, None)
    if "bias" not in rule.takes:
        return ScoreRule(rule.name, scale)
    if rule.bias is None and bias is None:
        raise CalibrationError(
            f"The rule {rule.name} needs a logit bias, which {model.name} does not have: only "
            f"models trained with a sigmoid, such as SigLIP, do. Take another rule, such as "
            f"margin, or write the constants out, as in: sigmoid(scale=100,bias=-10)"
        )
    return ScoreRule(
        rule.name,
        scale if rule.scale is None else rule.scale,
        bias if rule.bias is None else rule.bias,
    )


def _manifest(model: ModelIdentity, bundle: str | None) -> Manifest | None:
    """The manifest of a model's bundle; None for imported vectors without one."""
    if model.preprocessing != EXTERNAL:
        return model.find_bundle(bundle).manifest
    if bundle is None:
        return None
    found = find_bundle(bundle)
    if not model.may_be(found.name, found.fingerprint):
        raise FingerprintMismatch(
            f"The bundle {bundle} is of {found.name}, the corpus's vectors were imported as "
            f"{model.name}. Name that model's bundle: --model BUNDLE"
        )
    return found.manifest


def _unreadable(text: str) -> CalibrationError:
    return CalibrationError(
        f"{text!r} is no score rule. Take one of {', '.join(RULE_NAMES)}; constants go into "
        f"brackets, as in: softmax-contrast(scale=100)"
    )


def _shortest(value: float) -> str:
    """Write a number with the fewest digits that read as the same one."""
    return repr(float(value)).removesuffix(".0")

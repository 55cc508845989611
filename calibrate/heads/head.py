"""Learned scores on frozen embeddings: a linear probe and Tip-Adapter.

A head takes the place of the score rule's own score of a category. What it is and how it scores
is here; how it is fitted, and whether it is worth having, in `heads_fit` and `heads_offer`.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clipcal.calibrate.statistics.bounds import Estimate, Range
from clipcal.errors import CalibrationError

HeadKind = Literal["probe", "tip_adapter"]

_BLOCK = 8192


@dataclass(frozen=True, slots=True)
class HeadComparison:
    """Why a head was offered, or not: areas under the ROC curve out of fold.

    Attributes
    ----------
    kind : {"probe", "tip_adapter"}
        The better head.
    plain, learned : Estimate
        Of the score without and with the head, on the same images.
    gain : Range
        The difference, with an interval.
    offered : bool
        Whether the gain is surely above nothing.
    """

    kind: HeadKind
    plain: Estimate
    learned: Estimate
    gain: Range
    offered: bool


@dataclass(frozen=True, slots=True)
class Head:
    """A learned score of one category, as a contract keeps it.

    Attributes
    ----------
    kind : {"probe", "tip_adapter"}
        A direction, or labelled images to be near to.
    dim : int
        Length of an embedding.
    arrays : dict of str to str
        Named float32 arrays, little-endian, base64. Of a probe: ``direction`` (dim). Of a
        Tip-Adapter: ``keys`` (k by dim), labelled images, and ``values`` (k), their votes.
    parameters : dict of str to float
        Named numbers. Of a probe: ``intercept``. Of a Tip-Adapter: ``scale``, ``alpha`` and
        ``beta``.
    """

    kind: HeadKind
    dim: int
    arrays: dict[str, str]
    parameters: dict[str, float]

    def score(
        self, embeddings: NDArray[np.floating], plain_scores: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        r"""Score images with the head.

        A probe's score is :math:`x \cdot w + b`. A Tip-Adapter's is, with the plain score
        :math:`s`, the kept images :math:`f_k` and their votes :math:`y_k`,

        .. math:: \mathrm{scale}\, s + \alpha \sum_k e^{-\beta (1 - x \cdot f_k)} y_k .

        Parameters
        ----------
        embeddings : Float[(n, dim)]
            L2-normalised embeddings.
        plain_scores : Float[(n,)]
            The score rule's scores of the same images; a probe does without them.

        Returns
        -------
        Float32[(n,)]
            Scores, of the order of 1, the higher the likelier. A row's score depends on no
            other row, save for the last bit.

        Raises
        ------
        CalibrationError
            If shapes do not fit, a score is no finite number, or the head is damaged.
        """
        if embeddings.shape != (len(plain_scores), self.dim):
            raise CalibrationError(
                f"The head is for embeddings of length {self.dim} with a score each, but there "
                f"are embeddings of shape {embeddings.shape} and {len(plain_scores)} scores. "
                f"Fit it again: clipcal calibrate"
            )
        scores = np.empty(len(embeddings), np.float32)
        part = self._probe if self.kind == "probe" else self._tip_adapter
        for start in range(0, len(scores), _BLOCK):
            rows = slice(start, start + _BLOCK)
            scores[rows] = part(embeddings[rows].astype(np.float32), plain_scores[rows])
        if not np.isfinite(scores).all():
            raise CalibrationError(
                "A learned score is NaN or infinite. Score the corpus again: clipcal score, "
                "then fit again: clipcal calibrate"
            )
        return scores

    def array(self, name: str) -> NDArray[np.float32]:
        """Return a named array as one row of numbers; CalibrationError if it is damaged."""
        try:
            content = base64.b64decode(self.arrays[name], validate=True)
            return np.frombuffer(content, "<f4").astype(np.float32)
        except (KeyError, ValueError, binascii.Error) as error:
            raise self._damaged(name) from error

    def _number(self, name: str) -> np.float32:
        if name not in self.parameters:
            raise self._damaged(name)
        return np.float32(self.parameters[name])

    def _probe(
        self, embeddings: NDArray[np.float32], plain_scores: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        direction = self.array("direction")
        if direction.shape != (self.dim,):
            raise self._damaged("direction")
        return np.asarray(embeddings @ direction + self._number("intercept"))

    def _tip_adapter(
        self, embeddings: NDArray[np.float32], plain_scores: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        keys, values = self.array("keys"), self.array("values")
        if keys.size != len(values) * self.dim:
            raise self._damaged("keys")
        near = nearness(embeddings, keys.reshape(len(values), self.dim), self._number("beta"))
        plain = self._number("scale") * plain_scores.astype(np.float32)
        return np.asarray(plain + self._number("alpha") * (near @ values))

    def _damaged(self, name: str) -> CalibrationError:
        return CalibrationError(
            f"The calibration's learned score ({self.kind}) is damaged: {name} is missing or "
            f"wrong. Fit it again: clipcal calibrate"
        )


def nearness(
    embeddings: NDArray[np.float32], keys: NDArray[np.float32], beta: float | np.float32
) -> NDArray[np.float32]:
    r"""Return :math:`e^{-\beta(1 - x \cdot f)}` for each embedding and key.

    Parameters
    ----------
    embeddings : Float32[(n, d)]
        L2-normalised embeddings.
    keys : Float32[(k, d)]
        Those of the kept images.
    beta : float
        How quickly it falls with distance, at least 0.

    Returns
    -------
    Float32[(n, k)]
        1 for the same embedding, towards 0 for others.
    """
    near = embeddings @ keys.T
    near -= np.float32(1)
    near *= np.float32(beta)
    return np.asarray(np.exp(near, out=near))


def encoded(array: NDArray[np.floating]) -> str:
    """Write an array as `Head.arrays` keeps it: float32, little-endian, base64."""
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode("ascii")

"""Integers of eight bits for real numbers: scales, zero points, and the error that they make.

x86 processors without VNNI multiply unsigned activations with signed weights two at a time
(``vpmaddubsw``) and cut the sum of both products at 32,767. The scales chosen here keep any two
weights that may meet below that, so that a graph gives the same embeddings on every processor, by
ONNX Runtime as by OpenVINO. ONNX Runtime's own remedy, ``session.x64quantprecision``, halves the
speed on processors that have VNNI, too.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcal.export.int8.tower import Floats

# Of the extremes' standard deviation between pictures. Pictures yet unseen go beyond what was
# measured, and to cut them off costs more than resolution: the greatest values carry the most.
_HEADROOM = 1.0
# Extremes differ in their last bits between machines; scales of so many bits hardly ever do.
_SCALE_BITS = 10
_LARGEST_BIAS = 2.0**30
# Two weights of one sign: 255 * 128 fits in 16 bits, and each may be rounded up by a half.
_LARGEST_PAIR = 127
_TOGETHER = 4  # adjacent weights, of which kernels multiply two at a time


@dataclass(frozen=True, slots=True)
class Range:
    """How a tensor becomes unsigned integers: ``round(x / scale) + zero``, cut to 0..255."""

    scale: np.float32
    zero: np.uint8

    @classmethod
    def spanning(cls, lowest: Floats, highest: Floats) -> Range:
        """Return a range that holds the extremes of all pictures, and zero exactly.

        Parameters
        ----------
        lowest, highest : numpy.ndarray
            (pictures,): extremes of a tensor. The range goes beyond them by as much as they
            differ from picture to picture.

        Returns
        -------
        Range
            The range.
        """
        # What is never negative, behind a ReLU, stays so.
        room = _HEADROOM * float(lowest.std()) if lowest.min() < 0 else 0.0
        low = min(float(lowest.min()) - room, 0.0)
        high = max(float(highest.max() + _HEADROOM * highest.std()), 0.0)
        scale = rounded_up((high - low) / 255 or 1.0)
        return cls(np.float32(scale), np.uint8(min(round(-low / scale), 255)))

    def rounded(self, values: Floats) -> Floats:
        """Return values as the integers represent them."""
        integers = np.rint(values / self.scale) + np.float32(self.zero)
        return np.asarray((integers.clip(0, 255) - np.float32(self.zero)) * self.scale)

    def clipped(self, values: Floats) -> Floats:
        """Return values cut to the range."""
        zero = np.float32(self.zero)
        return values.clip(-zero * self.scale, (255 - zero) * self.scale)


PIXELS = Range(np.float32(1), np.uint8(0))


def rounded_up(value: float) -> float:
    """Return the next greater number with few bits."""
    mantissa, exponent = np.frexp(value)
    return float(np.ldexp(np.ceil(mantissa * 2**_SCALE_BITS) / 2**_SCALE_BITS, exponent))


def output_axis(weight: Floats) -> int:
    """Return the axis of output channels: the first of a convolution, the last of a matrix."""
    return 0 if weight.ndim == 4 else 1


def weight_scales(
    weight: Floats, bias: Floats | None = None, activation: np.float32 | None = None
) -> Floats:
    """Return the scale of each output channel.

    Parameters
    ----------
    weight : numpy.ndarray
        The weight.
    bias : numpy.ndarray, optional
        (outputs,): a bias that must be an integer of 32 bits in units of both scales.
    activation : numpy.float32, optional
        The other scale.

    Returns
    -------
    numpy.ndarray
        (outputs,): no weight exceeds 127 steps, and no two that meet exceed 128.
    """
    greatest = np.maximum(np.abs(weight).max(axis=_others(weight)), greatest_pair(weight))
    scales = greatest / np.float32(_LARGEST_PAIR)
    if bias is not None and activation is not None:
        scales = np.maximum(scales, np.abs(bias) / (activation * np.float32(_LARGEST_BIAS)))
    return np.where(scales > 0, scales, np.float32(1)).astype(np.float32)


def greatest_pair(weight: Floats) -> Floats:
    """Return the greatest sum of two weights of one sign that may meet, by output channel.

    Parameters
    ----------
    weight : numpy.ndarray
        The weight.

    Returns
    -------
    numpy.ndarray
        (outputs,): over two of four adjacent rows of a matrix; over any two of a convolution's
        weights, whose order is up to the kernel.
    """
    return np.maximum(_greatest_sum(weight.clip(0)), _greatest_sum((-weight).clip(0)))


def _greatest_sum(positive: Floats) -> Floats:
    if positive.ndim == 4:
        flat = np.sort(positive.reshape(len(positive), -1), axis=1)
        return np.asarray(flat[:, -2:].sum(axis=1))
    missing = -len(positive) % _TOGETHER
    rows = np.concatenate([positive, np.zeros((missing, positive.shape[1]), np.float32)])
    groups = rows.reshape(-1, _TOGETHER, positive.shape[1])
    places = itertools.combinations(range(_TOGETHER), 2)
    sums = [(groups[:, one] + groups[:, other]).max(axis=0) for one, other in places]
    return np.asarray(np.max(sums, axis=0))


def as_int8(weight: Floats, scales: Floats) -> NDArray[np.int8]:
    """Return a weight as integers in units of its channels' scales."""
    return np.asarray(np.rint(weight / _along(weight, scales)).astype(np.int8))


def _along(weight: Floats, scales: Floats) -> Floats:
    return np.asarray(np.expand_dims(scales, _others(weight)))


def _others(weight: Floats) -> tuple[int, ...]:
    return tuple(axis for axis in range(weight.ndim) if axis != output_axis(weight))


def relative_error(
    rows: Floats,
    weight: Floats,
    taken: Range,
    given: Range | None = None,
    bias: Floats | None = None,
) -> float:
    """Return the error of an int8 product over what its output varies by.

    Parameters
    ----------
    rows : numpy.ndarray
        Sampled activations, as in :class:`clipcal.export.int8.observe.Observations`.
    weight : numpy.ndarray
        The weight, smoothed as `rows` are; of a convolution with four axes.
    taken, given : Range
        Of activation and output; None where the output stays float.
    bias : numpy.ndarray, optional
        (outputs,): what is added before the output is rounded.

    Returns
    -------
    float
        Mean squared error over the variance between rows: a constant output carries nothing, so
        that an error beside it must not look small.
    """
    scales = weight_scales(weight)
    rounded = as_int8(weight, scales) * _along(weight, scales)
    exact, found = multiply(rows, weight), multiply(taken.rounded(rows), rounded)
    if given is not None:
        shift = np.float32(0) if bias is None else bias
        exact, found = exact + shift, found + shift
        exact, found = given.clipped(exact), given.rounded(found)
    varies = float(np.square(exact - exact.mean(axis=0)).mean(dtype=np.float64))
    missed = float(np.square(found - exact).mean(dtype=np.float64))
    return missed / varies if varies > 0 else float(missed > 0)


def multiply(rows: Floats, weight: Floats) -> Floats:
    """Multiply sampled activations with a weight; windows with a convolution's."""
    if weight.ndim == 2:
        return rows @ weight
    outputs, inputs = weight.shape[:2]
    groups = rows.shape[1] // inputs
    windows = rows.reshape(len(rows), groups, -1).swapaxes(0, 1)
    kernels = weight.reshape(groups, outputs // groups, -1).swapaxes(1, 2)
    return (windows @ kernels).swapaxes(0, 1).reshape(len(rows), outputs)

"""Integers of eight bits for real numbers: scales, zero points, and the error that they make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcal.export.int8.tower import Floats

# Pictures yet unseen go a little beyond what was measured; clipping costs more than resolution.
_HEADROOM = 1.05
# Extremes differ in their last bits between machines; scales of so many bits hardly ever do.
_SCALE_BITS = 10
_LARGEST_BIAS = 2.0**30


@dataclass(frozen=True, slots=True)
class Range:
    """How a tensor becomes unsigned integers: ``round(x / scale) + zero``, cut to 0..255."""

    scale: np.float32
    zero: np.uint8

    @classmethod
    def spanning(cls, lowest: float, highest: float) -> Range:
        """Return the range that holds both extremes and represents zero exactly."""
        low, high = min(lowest, 0.0) * _HEADROOM, max(highest, 0.0) * _HEADROOM
        scale = rounded_up((high - low) / 255 or 1.0)
        return cls(np.float32(scale), np.uint8(min(round(-low / scale), 255)))

    def rounded(self, values: Floats) -> Floats:
        """Return values as the integers represent them."""
        integers = np.rint(values / self.scale) + np.float32(self.zero)
        return (integers.clip(0, 255) - np.float32(self.zero)) * self.scale

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
        (outputs,): the greatest magnitude is 127 steps.
    """
    scales = np.abs(weight).max(axis=_others(weight)) / np.float32(127)
    if bias is not None and activation is not None:
        scales = np.maximum(scales, np.abs(bias) / (activation * np.float32(_LARGEST_BIAS)))
    return np.where(scales > 0, scales, np.float32(1)).astype(np.float32)


def as_int8(weight: Floats, scales: Floats) -> NDArray[np.int8]:
    """Return a weight as integers in units of its channels' scales."""
    return np.rint(weight / _along(weight, scales)).clip(-127, 127).astype(np.int8)


def _along(weight: Floats, scales: Floats) -> Floats:
    return np.expand_dims(scales, _others(weight))


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

"""What can go wrong, as one tree.

::

    ClipcalError
    ├── BundleError             a model bundle is missing, damaged or unfit
    │   ├── FingerprintMismatch   two things that must come from one model do not
    │   └── ParityFailure         an exported graph does not equal its torch source
    ├── StoreError              the corpus on disk is missing, unusable or damaged
    │   ├── CorpusBusy            another process is writing to it
    │   ├── BatchTaken            the name of a batch of labels is in use for others
    │   └── DrawOutdated          somebody else has drawn images in the meantime
    ├── SourceError             a source that was named cannot be read at all
    ├── ImageError              one image cannot be decoded; it becomes a failed row
    ├── LabelError              a label file cannot be understood
    ├── PromptError             a prompt set is wrong, or a text vector is missing
    ├── CalibrationError        a calibration cannot be fitted or applied as asked
    └── ProviderError           the device or run time that was asked for is not there

A message states the fact, the need, and the next command. The command line prints it as one
line and leaves with exit code 1.
"""

from __future__ import annotations


class ClipcalError(Exception):
    """Root of every error that clipcal raises on purpose."""


class BundleError(ClipcalError):
    """A model bundle is missing, damaged or unfit for what was asked."""


class FingerprintMismatch(BundleError):
    """Two artefacts that must come from the same model, prompts or preprocessing do not."""


class ParityFailure(BundleError):
    """An exported graph differs from its torch source by more than the tolerance."""


class StoreError(ClipcalError):
    """The corpus on disk is missing, unusable or damaged."""


class CorpusBusy(StoreError):
    """Another process is writing to the corpus."""


class BatchTaken(StoreError):
    """A batch of labels has a name under which other labels are kept, or were undone."""


class DrawOutdated(StoreError):
    """Images were drawn to be labelled since this draw was made: draw again."""


class SourceError(ClipcalError):
    """A source named by the user cannot be read at all."""


class ImageError(ClipcalError):
    """One image cannot be decoded; the message is the reason that its row records."""


class LabelError(ClipcalError):
    """A label file cannot be understood."""


class PromptError(ClipcalError):
    """A prompt set is wrong, or a sentence has no text vector."""


class CalibrationError(ClipcalError):
    """A calibration cannot be fitted or applied as asked."""


class ProviderError(ClipcalError):
    """The device or run time that was asked for is not there."""

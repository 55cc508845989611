"""How the service was started: what it serves, where it listens, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

MEGABYTE = 1 << 20
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost.

    Attributes
    ----------
    upload : int
        Bytes of a request's body.
    pixels : int
        Pixels of one image, before it is decoded.
    side : int
        Width, and height, of one image: what a JPEG can have at most.
    batch : int
        Images of one request.
    labels : int
        Labels of one request.
    seconds : float
        Until a request is given up.
    waiting : int
        Images that may wait for the encoder, those of all clients together.
    """

    upload: int = 32 * MEGABYTE
    pixels: int = 100_000_000
    side: int = 65_535
    batch: int = 64
    labels: int = 5_000
    seconds: float = 60.0
    waiting: int = 256


@dataclass(frozen=True, slots=True)
class Settings:
    """What the service was started with.

    Attributes
    ----------
    corpus : pathlib.Path
        The folder of the corpus.
    calibration : pathlib.Path
        The contract that is applied, and written when one is saved; it need not exist yet.
    prompts : str or None
        The prompt set, where there is no contract; the corpus's own by default.
    prompt_vectors : pathlib.Path or None
        Text vectors made before, so that no text encoder is needed for the prompt set.
    model : str or None
        Where the corpus's bundle lies now, if it moved.
    device : str
        One of :data:`clipcal.models.session.DEVICES`.
    host : str
        Where to listen, as it was said.
    bound : str or None
        The number that this is; None where nobody listens, as in tests.
    port : int
        Where to listen.
    token : str or None
        What every request must bring; None lets everybody in, which only loopback may.
    hosts : tuple of str
        Further names by which browsers may address the service, each with its port unless that is
        the scheme's own.
    limits : Limits
        What one request may cost.
    """

    corpus: Path
    calibration: Path = Path("calibration.json")
    prompts: str | None = None
    prompt_vectors: Path | None = None
    model: str | None = None
    device: str = "auto"
    host: str = "127.0.0.1"
    bound: str | None = None
    port: int = 8765
    token: str | None = None
    hosts: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

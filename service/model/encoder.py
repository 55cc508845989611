"""The model, shared by all clients, and opened by the first of them who needs it."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import numpy as np

from clipcal.errors import ClipcalError, ImageError
from clipcal.models.bundle import Bundle
from clipcal.models.identity import ModelIdentity
from clipcal.models.preprocess import Pixels
from clipcal.prompts.resolve import text_vectors
from clipcal.prompts.vectors import TextVectors
from clipcal.service.gate.problems import too_slow
from clipcal.service.model.batching import Batches, Vector, Vectors
from clipcal.service.model.decoding import Decoding
from clipcal.service.settings import Settings

if TYPE_CHECKING:
    from clipcal.models.session import ImageEncoder, TextEncoder

SENTENCES_KEPT: Final = 4_096
_SENTENCES_AT_ONCE: Final = 32

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class EncoderStatus:
    """What is known of the model's run time.

    Attributes
    ----------
    provider, arithmetic, note : str or None
        As the image encoder tells them; None until it has been opened.
    problem : str or None
        Why it could not be opened when that was last tried.
    """

    provider: str | None = None
    arithmetic: str | None = None
    note: str | None = None
    problem: str | None = None


class SharedEncoder:
    """Embeds images and sentences for many threads at once.

    Parameters
    ----------
    settings : Settings
        Where the bundle lies, where it runs, and the limits.
    identity : ModelIdentity
        The corpus's model.
    exact : bool
        Whether the corpus's images were decoded exactly, so that others are too.
    seen : callable, optional
        Told the size of every batch of images.
    """

    def __init__(
        self,
        settings: Settings,
        identity: ModelIdentity,
        *,
        exact: bool,
        seen: Callable[[int], object] | None = None,
    ) -> None:
        self._settings, self._identity, self._seen = settings, identity, seen
        self._bundle = _Once(lambda: identity.find_bundle(settings.model))
        self._images = _Once(self._open_images)
        self._texts = _Once(self._open_texts)
        self._brought = _Once(self._load_brought)
        self._status = EncoderStatus()
        self._decoding = Decoding(settings.limits, exact=exact)
        self._sentences = _Recent(SENTENCES_KEPT)

    @property
    def status(self) -> EncoderStatus:
        """What computes, or why nothing does."""
        return self._status

    @property
    def waiting(self) -> int:
        """How many images wait for the model."""
        return 0 if self._images.made is None else self._images.made.waiting

    @property
    def bundle(self) -> Bundle:
        """The model's bundle.

        Raises
        ------
        BundleError
            If it is not where it was, or the corpus's vectors were imported.
        """
        return self._bundle()

    def open(self) -> None:
        """Open the image encoder, unless it is open.

        Raises
        ------
        BundleError, ProviderError
            If it cannot be opened; it is tried again the next time.
        """
        self._images()

    def embed_images(self, files: Sequence[bytes]) -> list[Vector | ImageError]:
        """Decode and embed image files, together with those of other clients.

        Parameters
        ----------
        files : sequence of bytes
            Whole files.

        Returns
        -------
        list of (Vector or ImageError)
            float32 (dim,), L2-normalised; or why a file could not be decoded.

        Raises
        ------
        BundleError, ProviderError
            If there is no model, or it fails.
        Refused
            503 where too many images wait, or the service is ending; 504 where it takes too long.
        """
        until = time.monotonic() + self._settings.limits.seconds
        batches = self._images()
        preprocessing = self.bundle.manifest.preprocessing
        decoded = [self._decoding.decode(file, preprocessing, until) for file in files]
        sound = [pixels for pixels in decoded if not isinstance(pixels, ImageError)]
        vectors = iter(self._wait(batches.submit(sound), until))
        return [one if isinstance(one, ImageError) else next(vectors) for one in decoded]

    def embed_sentences(self, sentences: Sequence[str]) -> Vectors:
        """Embed sentences: known ones at once, others together with those of other clients.

        Nothing is written: the cache of text vectors that commands share is not touched.

        Parameters
        ----------
        sentences : sequence of str
            n sentences, at least one.

        Returns
        -------
        Vectors
            float32 (n, dim), rows L2-normalised.

        Raises
        ------
        BundleError, ProviderError
            If a sentence is unknown and there is no model, or it fails.
        Refused
            503 where too many sentences wait; 504 where it takes too long.
        """
        until = time.monotonic() + self._settings.limits.seconds
        found = {s: vector for s in sentences if (vector := self._known(s)) is not None}
        missing = [s for s in dict.fromkeys(sentences) if s not in found]
        if missing:
            made = self._wait(self._texts().submit(missing), until)
            found |= zip(missing, made, strict=True)
            self._sentences.keep(zip(missing, made, strict=True))
        return np.stack([found[sentence] for sentence in sentences])

    def close(self) -> None:
        """End the threads; what waits is refused."""
        self._decoding.close()
        if self._images.made is not None:
            self._images.made.close()
        if self._texts.made is not None:
            self._texts.made.close()

    # --- opening ------------------------------------------------------------------------------

    def _open_images(self) -> Batches[Pixels]:
        try:
            encoder = self._image_encoder()
        except ClipcalError as error:
            self._status = EncoderStatus(problem=str(error))
            raise
        self._status = EncoderStatus(encoder.provider, encoder.arithmetic, encoder.note)
        return Batches(
            lambda pixels: encoder.encode(np.stack(pixels)),
            largest=max(encoder.batch_sizes),
            threads=encoder.streams,
            waiting=self._settings.limits.waiting,
            seen=self._seen,
            name="images",
        )

    def _open_texts(self) -> Batches[str]:
        return Batches(
            self._text_encoder().encode,
            largest=_SENTENCES_AT_ONCE,
            threads=1,
            waiting=SENTENCES_KEPT,
            name="sentences",
        )

    def _image_encoder(self) -> ImageEncoder:
        from clipcal.models.session import open_image_encoder  # loads ONNX Runtime

        return open_image_encoder(self.bundle, device=self._settings.device)

    def _text_encoder(self) -> TextEncoder:
        from clipcal.models.session import open_text_encoder  # loads ONNX Runtime

        return open_text_encoder(self.bundle, device=self._settings.device)

    # --- work ---------------------------------------------------------------------------------

    def _wait(self, promised: Sequence[Future[Vector]], until: float) -> list[Vector]:
        """Wait for vectors; who gives up takes back what has not begun."""
        try:
            return [one.result(max(until - time.monotonic(), 0)) for one in promised]
        except TimeoutError:
            raise too_slow(self._settings.limits.seconds) from None
        finally:
            for one in promised:
                one.cancel()

    def _known(self, sentence: str) -> Vector | None:
        brought = self._brought()
        return brought.of(sentence) if sentence in brought else self._sentences.get(sentence)

    def _load_brought(self) -> TextVectors:
        """The text vectors that the service was started with."""
        file, dim = self._settings.prompt_vectors, self._identity.dim
        if file is None:
            return TextVectors((), np.empty((0, dim), np.float32))
        return text_vectors([], self._identity, file=file)


class _Once(Generic[Made]):
    """Makes something when it is first asked for; where that fails, the next one tries again."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make, self._lock = make, threading.Lock()
        self.made: Made | None = None

    def __call__(self) -> Made:
        with self._lock:
            if self.made is None:
                self.made = self._make()
            return self.made


class _Recent:
    """The vectors of the sentences that were asked for last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Vector] = OrderedDict()

    def get(self, sentence: str) -> Vector | None:
        with self._lock:
            vector = self._kept.get(sentence)
            if vector is not None:
                self._kept.move_to_end(sentence)
            return vector

    def keep(self, made: Iterable[tuple[str, Vector]]) -> None:
        with self._lock:
            for sentence, vector in made:
                self._kept[sentence] = vector
                self._kept.move_to_end(sentence)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

"""One-off zero-shot classification: images against a few sentences, nothing kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import softmax

from clipcal.errors import ImageError
from clipcal.models.bundle import Bundle
from clipcal.models.preprocess import load_pixels
from clipcal.models.session import open_image_encoder, open_text_encoder


@dataclass(frozen=True, slots=True)
class Classified:
    """One image's sentences, best first.

    Attributes
    ----------
    image : pathlib.Path
        The image.
    ranked : tuple of (str, float, float)
        Sentence, cosine, and the softmax of the model's logits over the sentences given.
    error : str or None
        Why the image could not be read.
    """

    image: Path
    ranked: tuple[tuple[str, float, float], ...] = ()
    error: str | None = None


def classify(
    bundle: Bundle, images: Sequence[Path], sentences: Sequence[str], *, device: str = "auto"
) -> list[Classified]:
    """Compare each image with each sentence.

    Parameters
    ----------
    bundle : Bundle
        The model.
    images : sequence of pathlib.Path
        Image files; one that cannot be read gets an error, the others are classified.
    sentences : sequence of str
        What to compare with.
    device : {"auto", "cpu", "cuda"}
        Where the model runs.

    Returns
    -------
    list of Classified
        In the order of `images`.

    Raises
    ------
    BundleError, ProviderError
        If the model cannot be opened.
    """
    encoder = open_image_encoder(bundle, device=device)
    texts = open_text_encoder(bundle, device=device).encode(sentences)
    results = []
    for image in images:
        try:
            pixels = load_pixels(image.read_bytes(), bundle.manifest.preprocessing)
        except (OSError, ImageError) as error:
            results.append(Classified(image, error=str(error)))
            continue
        cosines = texts @ encoder.encode(pixels[np.newaxis])[0]
        shares = softmax(cosines * bundle.manifest.logit_scale)
        order = np.argsort(-cosines, kind="stable")
        ranked = tuple((sentences[i], float(cosines[i]), float(shares[i])) for i in order)
        results.append(Classified(image, ranked))
    return results

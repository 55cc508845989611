"""One-off zero-shot classification: images against a few sentences, nothing kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from clipcal.errors import ImageError
from clipcal.models.bundle import Bundle, Manifest
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
        Sentence, cosine, and share (:func:`shares`).
    error : str or None
        Why the image could not be read.
    """

    image: Path
    ranked: tuple[tuple[str, float, float], ...] = ()
    error: str | None = None


def classify(
    bundle: Bundle, images: Sequence[Path], sentences: Sequence[str], *, device: str = "auto"
) -> list[Classified]:
    """Compare each image with each sentence, by its cosine and its share (:func:`shares`).

    Parameters
    ----------
    bundle : Bundle
        The model.
    images : sequence of pathlib.Path
        Image files; one that cannot be read gets an error, the others are classified.
    sentences : sequence of str
        What to compare with.
    device : {"auto", "cpu", "cuda", "tensorrt", "openvino"}
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
        among = shares(cosines, bundle.manifest)
        order = np.argsort(-cosines, kind="stable")
        ranked = tuple((sentences[i], float(cosines[i]), float(among[i])) for i in order)
        results.append(Classified(image, ranked))
    return results


def shares(cosines: NDArray[np.float32], manifest: Manifest) -> NDArray[np.float32]:
    r"""Turn an image's cosines with some sentences into shares.

    A share is what the model was trained to give for a cosine :math:`c`: the softmax of
    :math:`s\,c` over the sentences given (CLIP), or, where the model has a bias :math:`b`, the
    sigmoid of :math:`s\,c + b` (SigLIP), which no other sentence changes. It is no calibrated
    probability.

    Parameters
    ----------
    cosines : Float32[(n,)]
        With each sentence.
    manifest : Manifest
        The model's, with its scale :math:`s` and its bias.

    Returns
    -------
    Float32[(n,)]
        Shares, from 0 to 1.
    """
    logits = cosines * manifest.logit_scale
    if manifest.logit_bias is None:
        return np.asarray(softmax(logits), np.float32)
    return np.asarray(expit(logits + manifest.logit_bias), np.float32)

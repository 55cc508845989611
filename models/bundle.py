"""What an exported model is: a folder of graphs, a tokenizer and a manifest that binds them.

::

    BUNDLE/
      visual.onnx      pixels: uint8 (n, height, width, 3)  ->  embeddings: float32 (n, dim)
      textual.onnx     tokens: int64 (n, context_length)    ->  embeddings: float32 (n, dim)
      tokenizer.json   Hugging Face tokenizers format; padding and truncation are set inside
      manifest.json    :class:`Manifest`

Both graphs return L2-normalised rows; the visual graph also holds the cast and the
normalisation of the pixels, so that preprocessing has one definition.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clipcal.errors import BundleError
from clipcal.models.verification import (
    DecisionRecord,
    Parity,
    QuantisationRecord,
)

Precision = Literal["fp32", "fp16", "int8"]

VISUAL = "visual.onnx"
TEXTUAL = "textual.onnx"
TOKENIZER = "tokenizer.json"
MANIFEST = "manifest.json"


class Preprocessing(BaseModel):
    """How an image file becomes the pixels that the visual graph takes.

    Attributes
    ----------
    height, width : int
        Size of the graph's input, in pixels.
    resize_mode : {"shortest", "longest", "squash"}
        open_clip's names: short side to the size and centre crop; long side to the size and
        centre pad; or both sides without regard to the aspect ratio.
    interpolation : {"bicubic", "bilinear"}
        Pillow's filter, with antialias.
    mean, std : tuple of three float
        Normalisation of RGB in [0, 1]; done inside the graph, kept here for the record.
    fill : int
        Grey level of the padding in the mode "longest".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    height: int = Field(gt=0)
    width: int = Field(gt=0)
    resize_mode: Literal["shortest", "longest", "squash"] = "shortest"
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fill: int = Field(default=0, ge=0, le=255)


class Manifest(BaseModel):
    """Everything that is known of a bundle, as written to ``manifest.json``.

    Attributes
    ----------
    name : str
        Model and weights, as ``ViT-B-32-quickgelu::openai``.
    dim : int
        Length of an embedding.
    architecture : str
        SHA-256 of the canonical JSON of the open_clip model configuration.
    weights_sha256 : str
        SHA-256 over the sorted names, dtypes, shapes and bytes of the source weights.
    logit_scale : float
        The factor (already exponentiated) between a cosine and a logit.
    logit_bias : float or None
        SigLIP's bias; None for models trained with a softmax.
    fingerprint : str
        :func:`fingerprint_of`: what decides an embedding, and nothing else.
    files : dict
        SHA-256 of every other file in the bundle, by name.
    graphs : dict
        By file, whether the graph was written anew (``clean``) or as torch exports it
        (``generic``); empty where an older version did not say.
    quantisation : QuantisationRecord or None
        How the image tower became int8; the text tower is that of the fp32 bundle, to the byte.
    decisions : DecisionRecord or None
        Whether calibrated decisions are those of full precision, where that was asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    name: str
    dim: int = Field(gt=0)
    preprocessing: Preprocessing
    context_length: int = Field(gt=0)
    logit_scale: float
    logit_bias: float | None = None
    precision: Precision = "fp32"
    opset: int
    architecture: str
    weights_sha256: str
    licence: str | None = None
    parity: Parity
    tools: dict[str, str]
    files: dict[str, str]
    graphs: dict[str, str] = Field(default_factory=dict)
    quantisation: QuantisationRecord | None = None
    decisions: DecisionRecord | None = None
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk whose manifest has been read and checked.

    Attributes
    ----------
    path : pathlib.Path
        The folder.
    manifest : Manifest
        Its manifest.
    """

    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """Model and weights, as people name them."""
        return self.manifest.name

    @property
    def fingerprint(self) -> str:
        """What decides an embedding, as 64 hexadecimal digits."""
        return self.manifest.fingerprint

    @property
    def visual(self) -> Path:
        """The image tower's graph."""
        return self.path / VISUAL

    @property
    def textual(self) -> Path:
        """The text tower's graph."""
        return self.path / TEXTUAL

    @property
    def tokenizer(self) -> Path:
        """The tokenizer of the text tower."""
        return self.path / TOKENIZER

    @classmethod
    def load(cls, path: Path) -> Bundle:
        """Read and check the manifest of the bundle in `path`.

        Parameters
        ----------
        path : pathlib.Path
            The bundle's folder.

        Returns
        -------
        Bundle
            The bundle; its graphs are not opened.

        Raises
        ------
        BundleError
            If the folder is no bundle, its manifest is damaged, a file is missing, or the
            fingerprint does not follow from the manifest.
        """
        manifest = _read_manifest(path)
        missing = [name for name in manifest.files if not (path / name).is_file()]
        if missing:
            raise BundleError(
                f"The bundle {path} lacks {', '.join(missing)}. Export it again: "
                f"clipcal export {manifest.name} -o {path}"
            )
        if fingerprint_of(manifest) != manifest.fingerprint:
            raise BundleError(
                f"The manifest of {path} was changed after export: its fingerprint does not "
                f"follow from its fields. Export it again: clipcal export {manifest.name} -o {path}"
            )
        return cls(path, manifest)

    def verify(self) -> None:
        """Compare every file with the hash in the manifest.

        Raises
        ------
        BundleError
            If a file differs from what was exported.
        """
        for name, expected in self.manifest.files.items():
            if sha256_file(self.path / name) != expected:
                raise BundleError(
                    f"{self.path / name} is not the file that was exported (its SHA-256 differs). "
                    f"Copy the bundle again, or: clipcal export {self.name} -o {self.path}"
                )


def fingerprint_of(manifest: Manifest) -> str:
    """Hash what decides an embedding: architecture, weights, preprocessing, tokenizer, precision.

    Tool versions, opset and file layout are left out: exporting the same weights again with
    another torch gives the same fingerprint, since parity holds both to the same source. The
    tokenizer counts by the bytes of its file: should another version of ``tokenizers`` write the
    same tokenizer differently, the export counts as another model. In int8 the ranges of
    activations decide too, by the digest of the quantisation.

    Parameters
    ----------
    manifest : Manifest
        The manifest; its own ``fingerprint`` field is not read.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    deciding = {
        "architecture": manifest.architecture,
        "weights": manifest.weights_sha256,
        "preprocessing": manifest.preprocessing.model_dump(mode="json"),
        "tokenizer": manifest.files.get(TOKENIZER),
        "context_length": manifest.context_length,
        "precision": manifest.precision,
        "dim": manifest.dim,
    }
    if manifest.quantisation is not None:  # the other precisions keep the fingerprints they had
        deciding["quantisation"] = manifest.quantisation.digest
    canonical = json.dumps(deciding, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Hash a file's content with SHA-256, in constant memory."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_manifest(path: Path) -> Manifest:
    file = path / MANIFEST
    try:
        return Manifest.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        raise BundleError(
            f"{path} is not a model bundle: it has no {MANIFEST}. "
            f"Make one: clipcal export ViT-B-32::openai -o {path}"
        ) from None
    except (OSError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise BundleError(
            f"{file} cannot be read as a manifest ({first}). Export the bundle again: "
            f"clipcal export NAME -o {path}"
        ) from error

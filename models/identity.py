"""Which model a set of embeddings belongs to, wherever they were made."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from clipcal.errors import BundleError, FingerprintMismatch
from clipcal.models.bundle import Bundle
from clipcal.models.registry import BUILTIN, BUILTIN_FOLDER, find_bundle, same_model_name

EXTERNAL = "external"  # stands for the preprocessing of imported vectors


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """A model, as a corpus or a file of text vectors remembers it.

    Attributes
    ----------
    name : str
        As people name it, ``ViT-B-32-quickgelu::openai``.
    fingerprint : str
        Of the bundle, or of the name given to imported vectors.
    preprocessing : str
        Hash of the preprocessing, or ``"external"`` for imported vectors.
    dim : int
        Length of an embedding.
    bundle : str or None
        Where the bundle was when the corpus was made, ``"builtin"`` for the packaged model,
        None for imported vectors.
    """

    name: str
    fingerprint: str
    preprocessing: str
    dim: int
    bundle: str | None

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> ModelIdentity:
        """Identify the model of a `bundle`, and remember where it lies."""
        manifest = bundle.manifest
        builtin = bundle.path == BUILTIN_FOLDER
        canonical = manifest.preprocessing.model_dump_json().encode()
        return cls(
            name=manifest.name,
            fingerprint=manifest.fingerprint,
            preprocessing=hashlib.sha256(canonical).hexdigest(),
            dim=manifest.dim,
            bundle=BUILTIN if builtin else str(bundle.path.resolve()),
        )

    @classmethod
    def external(cls, model_id: str, dim: int) -> ModelIdentity:
        """Identify the model of vectors made elsewhere by the name its user gives it."""
        canonical = json.dumps([EXTERNAL, model_id, dim]).encode()
        return cls(model_id, hashlib.sha256(canonical).hexdigest(), EXTERNAL, dim, None)

    def to_json(self) -> str:
        """Write the identity as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelIdentity:
        """Read what :meth:`to_json` wrote."""
        return cls(**json.loads(text))

    def may_be(self, name: str | None, fingerprint: str | None) -> bool:
        """Tell whether vectors that say this of their model may stand beside this model's.

        Parameters
        ----------
        name, fingerprint : str or None
            What is said; None where nothing is.

        Returns
        -------
        bool
            Fingerprints decide where both sides have a bundle's; imported vectors have a name
            only, so there the names decide (:func:`clipcal.models.registry.same_model_name`).
            True where nothing is said.
        """
        if fingerprint is not None and self.preprocessing != EXTERNAL:
            return fingerprint == self.fingerprint
        said = [text for text in (name, fingerprint) if text is not None]
        return not said or any(same_model_name(text, self.name) for text in said)

    def require_same(self, other: ModelIdentity, *, corpus: str) -> None:
        """Refuse `other` where its embeddings cannot stand beside this model's.

        Raises
        ------
        FingerprintMismatch
            If the fingerprints differ; the message names both models.
        """
        if self.fingerprint != other.fingerprint:
            raise FingerprintMismatch(
                f"The corpus {corpus} holds embeddings of {self.name} "
                f"({self.fingerprint[:12]}), not of {other.name} ({other.fingerprint[:12]}). "
                f"Use another corpus for that model: --corpus NEW"
            )

    def find_bundle(self, name: str | None = None) -> Bundle:
        """Find the bundle of this model.

        Parameters
        ----------
        name : str, optional
            A bundle's folder or name, where it no longer lies where it did.

        Returns
        -------
        Bundle
            A bundle with this model's fingerprint.

        Raises
        ------
        BundleError
            If the model's vectors were imported and no bundle is named, or it is not there.
        FingerprintMismatch
            If the bundle found is another model's.
        """
        if name is None and self.bundle is None:
            raise BundleError(
                f"The embeddings of {self.name} were made elsewhere, so there is no model here to "
                f"embed images or sentences with. Give text vectors: --prompt-vectors FILE.npz"
            )
        bundle = find_bundle(name or self.bundle)
        self.require_same(ModelIdentity.of_bundle(bundle), corpus="here")
        return bundle

"""One model with random weights in every form that a contender takes."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from clipcal.export.bundle_writer import export_bundle
from clipcal.export.openclip.loading import LoadedModel, load
from clipcal.export.openclip.source import resolve
from clipcal.export.quiet import quiet
from clipcal.models.bundle import MANIFEST, Bundle

CALIBRATED_ON = 64  # images that an int8 export sees


@dataclass(frozen=True, slots=True)
class Material:
    """A model, and a folder in which its other forms are made when they are asked for.

    Attributes
    ----------
    source : str
        The model's name, with its weights.
    loaded : LoadedModel
        open_clip's model and transform.
    folder : pathlib.Path
        Where the forms lie.
    images : sequence of pathlib.Path
        What an int8 export is calibrated on: pictures like those that are timed.
    """

    source: str
    loaded: LoadedModel
    folder: Path
    images: Sequence[Path]

    @classmethod
    def of(cls, architecture: str, folder: Path, images: Sequence[Path]) -> Material:
        """Build an architecture with random weights, always the same."""
        folder.mkdir(parents=True, exist_ok=True)
        source = f"{architecture}::random"
        return cls(source, load(resolve(source)), folder, images[:CALIBRATED_ON])

    def bundle(self, precision: str) -> Bundle:
        """Return the bundle of a precision."""
        place = self.folder / f"bundle-{precision}"
        if (place / MANIFEST).is_file():
            return Bundle.load(place)
        images = list(self.images)
        return export_bundle(self.source, place, precision=precision, images=images)

    def plain(self) -> Path:
        """Return open_clip's image tower as torch.onnx writes it: float32 NCHW, normalised."""
        file = self.folder / "fastembed" / "model.onnx"
        if not file.is_file():
            file.parent.mkdir(exist_ok=True)
            _export(self.loaded, file)
        return file

    def plain_int8(self) -> Path:
        """Return the plain graph after ONNX Runtime's dynamic quantisation per channel."""
        file = self.folder / "plain-int8.onnx"
        if not file.is_file():
            with quiet(), contextlib.redirect_stdout(io.StringIO()):
                quantize_dynamic(self.plain(), file, per_channel=True, weight_type=QuantType.QInt8)
        return file

    def fastembed_folder(self) -> Path:
        """Return the plain graph beside a preprocessor_config.json, as fastembed's models lie."""
        folder = self.plain().parent
        (folder / "preprocessor_config.json").write_text(json.dumps(self._preprocessor()))
        return folder

    def _preprocessor(self) -> dict[str, Any]:
        shape = self.loaded.preprocessing
        return {
            "image_processor_type": "CLIPImageProcessor",
            "do_resize": True,
            "size": {"shortest_edge": shape.height},
            "resample": 3,  # bicubic
            "do_center_crop": True,
            "crop_size": {"height": shape.height, "width": shape.width},
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(shape.mean),
            "image_std": list(shape.std),
        }


class _Plain(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.model.encode_image(images, normalize=True)
        return features


def _export(loaded: LoadedModel, file: Path) -> None:
    shape = loaded.preprocessing
    example = torch.zeros(2, 3, shape.height, shape.width)
    with quiet(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        torch.onnx.export(
            _Plain(loaded.model),
            (example,),
            str(file),
            dynamo=True,
            verbose=False,
            external_data=False,
            input_names=["pixel_values"],
            output_names=["image_embeds"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )

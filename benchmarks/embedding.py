"""From image files to stored embeddings: clipcal against the code paths of others.

Run: ``python benchmarks/embedding.py FOLDER``. All embed the same files with the same random
weights, one after the other, round by round; what counts is the ratio within a round.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import peers
import runs
import torch
from material import Material
from peers import EXACT, INT8, OTHER, ROUGH, SCALED, Embedding, Peer

from clipcal.errors import ProviderError

BASE = "clip-retrieval's path"
CHECKED = 32  # files whose embeddings are compared before anything is timed
Opener = Callable[[Material], Embedding]


def _clipcal(precision: str, device: str) -> Opener:
    return lambda material: peers.open_clipcal(material.bundle(precision), device)


def _torch(dtype: torch.dtype) -> Opener:
    return lambda material: peers.by_hand(
        material.loaded.transform, peers.torch_encode(material, dtype)
    )


def _plain(graph: Callable[[Material], Path]) -> Opener:
    return lambda material: peers.by_hand(
        material.loaded.transform, peers.plain_encode(graph(material))
    )


# key on the command line → name, floor of the cosine, how it is opened
CONTENDERS: dict[str, tuple[str, float, Opener]] = {
    "clipcal-fp32-cpu": ("clipcal fp32, ONNX Runtime", SCALED, _clipcal("fp32", "cpu")),
    "clipcal-fp32-openvino": ("clipcal fp32, OpenVINO", SCALED, _clipcal("fp32", "openvino")),
    "clipcal-int8-cpu": ("clipcal int8, ONNX Runtime", INT8, _clipcal("int8", "cpu")),
    "clipcal-int8-openvino": ("clipcal int8, OpenVINO", INT8, _clipcal("int8", "openvino")),
    "clip-retrieval": (BASE, EXACT, peers.clip_retrieval),
    "fastembed": ("fastembed", OTHER, peers.fastembed),
    "fastembed-parallel": (
        "fastembed, parallel=0",
        OTHER,
        lambda material: peers.fastembed(material, 0),
    ),
    "torch-fp32": ("torch float32 by hand", EXACT, _torch(torch.float32)),
    "torch-bf16": ("torch bfloat16 by hand", ROUGH, _torch(torch.bfloat16)),
    "onnx-fp32": ("ONNX Runtime, plain graph", EXACT, _plain(Material.plain)),
    "onnx-int8": ("ONNX Runtime, plain, dynamic int8", INT8, _plain(Material.plain_int8)),
}
USUAL = [key for key in CONTENDERS if key != "fastembed-parallel"]


def open_peers(keys: Sequence[str], material: Material) -> tuple[list[Peer], dict[str, str]]:
    """Open contenders; of those that cannot run here, return why."""
    opened, absent = [], {}
    for key in keys:
        name, floor, opener = CONTENDERS[key]
        try:
            opened.append(Peer(name, floor, opener(material)))
        except (ProviderError, ImportError) as error:
            absent[name] = str(error)
    return opened, absent


def reference(material: Material, files: Sequence[Path], folder: Path) -> peers.Vectors:
    """Embed files by torch in float32 from exactly decoded pixels."""
    folder.mkdir()
    encode = peers.torch_encode(material, torch.float32)
    return peers.by_hand(material.loaded.transform, encode)(files, folder)


def contender(peer: Peer, files: Sequence[Path]) -> runs.Contender:
    """Make a peer ready to be timed: each run stores in a folder of its own."""

    def work() -> None:
        with tempfile.TemporaryDirectory() as folder:
            peer.run(files, Path(folder))

    return runs.Contender(peer.name, work)


def measure(options: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Check every contender's embeddings, then time them."""
    files = runs.picture_files(options.folder, options.images, place / "images")
    material = Material.of(options.architecture, options.work or place / "work", files)
    opened, absent = open_peers(options.peers, material)
    some = files[:CHECKED]
    cosines = peers.check(opened, some, reference(material, some, place / "reference"), place)
    ready = [contender(peer, files) for peer in opened]
    timings = runs.interleaved(ready, len(files), options.repeats)
    base = BASE if any(each.name == BASE for each in timings) else timings[0].name
    return {
        "benchmark": "embedding",
        "base": base,
        "least_cosine": cosines,
        "absent": absent,
        "contenders": runs.against(timings, base),
    }


def _keys(text: str) -> list[str]:
    keys = text.split(",")
    unknown = [key for key in keys if key not in CONTENDERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no contender {unknown[0]!r}; {', '.join(CONTENDERS)}")
    return keys


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the call, measure, print the table."""
    parser = runs.parser(__doc__, images=512)
    parser.add_argument(
        "folder", type=Path, help="images; copies of different content make up the number"
    )
    parser.add_argument("--peers", type=_keys, default=USUAL, help="contenders, with commas")
    runs.add_model_options(parser)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        result = measure(options, Path(place))
    title = f"{options.architecture}, {options.images} files to stored embeddings"
    runs.show_against(result["contenders"], result["base"], title)
    for name, reason in result["absent"].items():
        print(f"{name} did not run: {reason}")
    runs.keep(options.json, options, result)


if __name__ == "__main__":
    main()

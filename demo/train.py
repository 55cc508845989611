"""Trains the built-in model on drawn scenes: ``python -m clipcal.demo.train --seed 0 --out FILE``.

The model is a small open_clip `CLIP` (``builtin.json``). Scenes are rendered once, in parallel,
and kept in a temporary folder; the model then sees them with fresh captions in every epoch, first
at a reduced resolution, where a step costs less than half, and at the end at its own. Half of the
early pictures show a single object, from which its name is learned sooner than from a crowd.

The loss is the sigmoid one of SigLIP (Zhai et al. 2023, "Sigmoid Loss for Language Image
Pre-Training", https://arxiv.org/abs/2303.15343), with one change: a caption is a positive of
*every* image in the batch of which it is true, which the scenes' facts tell. Positives and
negatives weigh the same. A softmax loss against the negatives of the same caption or image is
added, because it attends to the hard ones. Two heads speed up learning and are thrown away: one
names the facts from the image embedding, one names the object in each cell of the picture from an
inner layer, since the scenes tell where their objects are.

Words that no caption used share one embedding, which is trained as a filler at random places of
the captions, so that an unknown word in a prompt changes little.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import open_clip
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as tnf

from clipcal.demo.batches import (
    CELLS,
    SHIFT,
    Batch,
    Facts,
    Vocabulary,
    cell_labels,
    epochs,
    make_batch,
)
from clipcal.demo.evaluation import Evaluation, draw_held_out, evaluate
from clipcal.demo.rendering import render_scenes

CONFIG = Path(__file__).with_name("builtin.json")
MEAN, STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
HEADS = (1.0, 0.2)  # weight of the heads' losses at the start and the end
FACTS = 0.3  # weight of the facts' head against the cells'
BACKGROUND = 0.2  # weight of a cell without object
RANKING = 0.15  # weight of the softmax losses

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and on what to train."""

    scenes: int = 24_000
    small_steps: int = 2200
    full_steps: int = 350
    single_scenes: int = 12_000
    single_steps: int = 1000
    batch: int = 64
    small_side: int = 64
    rate: float = 2e-3
    decay: float = 0.05

    @property
    def steps(self) -> int:
        """Number of optimiser steps in all."""
        return self.small_steps + self.full_steps


def build_model(vocab: Vocabulary | None = None) -> open_clip.CLIP:
    """Build the untrained model; with `vocab`, its token embedding has only those rows."""
    open_clip.add_model_config(CONFIG)
    model = open_clip.create_model(CONFIG.stem)
    assert isinstance(model, open_clip.CLIP)
    # open_clip starts residual branches at zero, which suits long training better than short.
    for name, parameter in model.visual.named_parameters():
        if name.endswith("bn3.weight"):
            nn.init.ones_(parameter)
    if vocab is not None:
        width = model.token_embedding.embedding_dim
        model.token_embedding = nn.Embedding(len(vocab), width)
        nn.init.normal_(model.token_embedding.weight, std=0.05)
    return model


def augment(batch: Batch, side: int, rng: Generator, device: torch.device) -> Tensor:
    """Return normalised pictures (n, 3, side, side): moved as the batch says, relit at random."""
    stacked = np.stack([scene.pixels for scene in batch.scenes])
    images = torch.from_numpy(stacked).to(device).permute(0, 3, 1, 2).float() / 255
    if side != images.shape[-1]:
        images = tnf.interpolate(images, size=side, mode="bilinear", antialias=True)
    reach = round(side * SHIFT)
    wide = tnf.pad(images, (reach,) * 4, mode="replicate")
    moved = []
    for image, (right, down, mirror) in zip(wide, batch.moves, strict=True):
        left, top = round(reach * (1 - right)), round(reach * (1 - down))
        cut = image[:, top : top + side, left : left + side]
        moved.append(cut.flip(2) if mirror < 0 else cut)
    light = torch.from_numpy(rng.uniform(0.8, 1.2, (len(moved), 3, 1, 1)).astype(np.float32))
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    result = (torch.stack(moved) * light.to(device)).clamp(0, 1)
    return (result - mean.to(device)) / std.to(device)


def see(model: open_clip.CLIP, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Run the image tower; return its third stage's map and the embeddings."""
    visual = model.visual
    stage = visual.layer3(visual.layer2(visual.layer1(visual.stem(pixels))))
    return stage, visual.attnpool(visual.layer4(stage))


def _balanced(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy in which positives and negatives weigh the same."""
    losses = tnf.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    positive = (losses * targets).sum() / targets.sum().clamp(min=1)
    negative = (losses * (1 - targets)).sum() / (1 - targets).sum().clamp(min=1)
    return 0.5 * positive + 0.5 * negative


def _ranking(logits: Tensor, targets: Tensor) -> Tensor:
    """Softmax loss of each positive against the negatives of its row."""
    negatives = logits.masked_fill(targets > 0, -1e4).logsumexp(1, keepdim=True)
    return (tnf.softplus(negatives - logits) * targets).sum() / targets.sum().clamp(min=1)


def encode_captions(model: open_clip.CLIP, tokens: Tensor) -> Tensor:
    """Encode texts as the model does, but without the padding that no row needs."""
    length = tokens.shape[1]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    ends = x[torch.arange(len(x), device=x.device), tokens.argmax(dim=-1)]
    encoded: Tensor = ends @ model.text_projection
    return encoded


class Objective(nn.Module):
    """The caption losses, and the two heads that exist in training only."""

    def __init__(self, model: open_clip.CLIP, facts: int) -> None:
        super().__init__()
        self.model = model
        self.bias = nn.Parameter(torch.tensor(-3.0))
        self.facts = nn.Linear(model.text_projection.shape[1], facts)
        self.cells = nn.Conv2d(model.visual.layer3[-1].conv3.out_channels, len(CELLS) + 1, 1)
        weights = torch.ones(len(CELLS) + 1)
        weights[0] = BACKGROUND
        self.register_buffer("cell_weights", weights)

    cell_weights: Tensor

    def forward(
        self,
        pixels: Tensor,
        tokens: Tensor,
        known: Tensor,
        sought: Tensor,
        labels: Tensor,
        weight: float,
    ) -> Tensor:
        """Return the loss of a batch; `weight` is that of the heads."""
        stage, images = see(self.model, pixels)
        texts = tnf.normalize(encode_captions(self.model, tokens), dim=-1)
        scale = self.model.logit_scale.exp()
        logits = scale * tnf.normalize(images, dim=-1) @ texts.T + self.bias
        # A caption with one mention has it twice, so that every caption has two to be true.
        targets = ((known @ sought[0].T > 0) & (known @ sought[1].T > 0)).float()
        ranked = _ranking(logits, targets) + _ranking(logits.T, targets.T)
        named = FACTS * _ranking(self.facts(images), known)
        named = named + tnf.cross_entropy(self.cells(stage), labels, weight=self.cell_weights)
        return _balanced(logits, targets) + RANKING * ranked + weight * named


def resize_positions(positions: Tensor, side: int) -> Tensor:
    """Fit the attention pooling's positions to pictures of `side` pixels."""
    before, after = math.isqrt(len(positions) - 1), side // 32
    grid = positions[1:].T.reshape(1, -1, before, before)
    grid = tnf.interpolate(grid, size=after, mode="bilinear", align_corners=False)
    return torch.cat([positions[:1], grid.flatten(2)[0].T])


def set_resolution(model: open_clip.CLIP, side: int) -> None:
    """Make the model take pictures of `side` pixels."""
    pool = model.visual.attnpool
    positions = resize_positions(pool.positional_embedding.detach(), side)
    pool.positional_embedding = nn.Parameter(positions)


def _optimizer(objective: Objective, plan: Plan) -> torch.optim.AdamW:
    matrices = [p for p in objective.parameters() if p.ndim >= 2]
    vectors = [p for p in objective.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": plan.decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98))


def _learning_rate(plan: Plan, step: int) -> float:
    warm = min(1.0, (step + 1) / 100)
    return plan.rate * warm * 0.5 * (1 + math.cos(math.pi * step / plan.steps))


def load_finished(state: State) -> open_clip.CLIP:
    """Build the full model and load a finished state into it."""
    model = build_model()
    model.load_state_dict(state)
    return model.eval()


class Training:
    """A training run: the model, its optimiser and the steps."""

    def __init__(self, plan: Plan, vocab: Vocabulary, facts: int) -> None:
        self.plan, self.vocab = plan, vocab
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = build_model(vocab)
        self.side: int = self.model.visual.image_size
        self.vocab_size: int = self.model.vocab_size
        set_resolution(self.model, plan.small_side)
        objective = Objective(self.model, facts).to(self.device)
        self.objective = objective.to(memory_format=torch.channels_last)
        self.optimizer = _optimizer(self.objective, plan)

    def _grow(self) -> None:
        """Go over to the model's own resolution."""
        set_resolution(self.model, self.side)
        self.optimizer.add_param_group(
            {"params": [self.model.visual.attnpool.positional_embedding], "weight_decay": 0.0}
        )

    def step(self, number: int, batch: Batch, rng: Generator) -> float:
        """Take one step and return its loss."""
        if number == self.plan.small_steps:
            self._grow()
        for group in self.optimizer.param_groups:
            group["lr"] = _learning_rate(self.plan, number)
        side = self.plan.small_side if number < self.plan.small_steps else self.side
        pixels = augment(batch, side, rng, self.device)
        labels = cell_labels(batch.scenes, batch.moves, side // 16)
        done = number / self.plan.steps
        loss: Tensor = self.objective(
            pixels.contiguous(memory_format=torch.channels_last),
            *(
                torch.from_numpy(array).to(self.device)
                for array in (batch.tokens, batch.known, batch.sought, labels)
            ),
            HEADS[0] * (1 - done) + HEADS[1] * done,
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        nn.utils.clip_grad_norm_(self.objective.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(50))
        return float(loss.detach())

    def state(self) -> State:
        """Return the state so far, every number exactly representable in float16."""
        state = {k: value.detach().cpu().clone() for k, value in self.model.state_dict().items()}
        positions = "visual.attnpool.positional_embedding"
        state[positions] = resize_positions(state[positions], self.side)
        rows = torch.from_numpy(self.vocab.rows_of(self.vocab_size))
        state["token_embedding.weight"] = state["token_embedding.weight"][rows]
        return {
            k: value.half().float() if value.is_floating_point() else value
            for k, value in state.items()
        }


def _material(
    plan: Plan, seed: int, folder: Path, vocab: Vocabulary, context: int, side: int
) -> tuple[Facts, Iterator[Batch]]:
    """Render the scenes; return their facts and the batches, with single objects at first."""
    rng = np.random.default_rng(seed)
    render = partial(
        render_scenes, seed=seed, side=side, folder=folder, workers=os.cpu_count() or 1
    )
    scenes, single = render(plan.scenes), render(plan.single_scenes, single=True)
    facts = Facts([scene.facts for scene in (*scenes, *single)])

    def draw() -> Iterator[Batch]:
        many, one = epochs(scenes, rng), epochs(single, rng)
        for number in range(plan.steps):
            ones = plan.batch // 2 if number < plan.single_steps else 0
            drawn = [*islice(one, ones), *islice(many, plan.batch - ones)]
            yield make_batch(drawn, facts, vocab, rng, context)

    return facts, draw()


def train(plan: Plan, seed: int, folder: Path, save: Callable[[State], None]) -> State:
    """Train and return the finished state; `save` gets the state every two minutes."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    config = json.loads(CONFIG.read_text(encoding="utf-8"))
    side, context = config["vision_cfg"]["image_size"], config["text_cfg"]["context_length"]
    tokenizer = open_clip.SimpleTokenizer()
    vocab = Vocabulary(tokenizer.encode, tokenizer.sot_token_id, tokenizer.eot_token_id)
    facts, material = _material(plan, seed, folder, vocab, context, side)
    training = Training(plan, vocab, len(facts.number))
    clock = _Clock(plan)
    for number, batch in enumerate(material):
        loss = training.step(number, batch, rng)
        if clock.tick(number, loss):
            save(training.state())
    return training.state()


class _Clock:
    """Prints progress and says when two minutes have passed."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._saved = self._last = time.monotonic()
        self._losses: list[float] = []

    def tick(self, step: int, loss: float) -> bool:
        """Note a step; return True if two minutes have passed since it last did."""
        self._losses.append(loss)
        now = time.monotonic()
        if (step + 1) % 50 == 0:
            mean = sum(self._losses) / len(self._losses)
            rate = len(self._losses) / (now - self._last)
            left = (self._plan.steps - step - 1) / rate / 60
            print(
                f"step {step + 1}/{self._plan.steps}  loss {mean:.4f}  "
                f"{rate * self._plan.batch:.0f} images/s  {left:.1f} min left at this rate",
                flush=True,
            )
            self._losses, self._last = [], now
        due = now - self._saved > 120
        if due:
            self._saved = now
        return due


def evaluate_state(state: State, scenes: int, seed: int) -> Evaluation:
    """Evaluate a finished state on freshly drawn scenes, through open_clip's own transforms."""
    model = load_finished(state)
    tokenize = open_clip.get_tokenizer(CONFIG.stem)
    preprocess = open_clip.image_transform(
        model.visual.image_size,
        is_train=False,
        mean=MEAN,
        std=STD,
        resize_mode="shortest",
        interpolation="bicubic",
    )

    @torch.inference_mode()
    def encode_images(images: Sequence[Image.Image]) -> NDArray[np.float32]:
        parts = [
            model.encode_image(
                torch.stack([preprocess(image) for image in images[at : at + 64]]), normalize=True
            ).numpy()
            for at in range(0, len(images), 64)
        ]
        return np.concatenate(parts)

    @torch.inference_mode()
    def encode_texts(texts: Sequence[str]) -> NDArray[np.float32]:
        encoded: NDArray[np.float32] = model.encode_text(
            tokenize(list(texts)), normalize=True
        ).numpy()
        return encoded

    return evaluate(draw_held_out(scenes, seed=seed), encode_images, encode_texts)


def _arguments() -> argparse.Namespace:
    plan = Plan()
    parser = argparse.ArgumentParser(prog="python -m clipcal.demo.train", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="file for the model's state")
    parser.add_argument("--scenes", type=int, default=plan.scenes, help="scenes to train on")
    parser.add_argument(
        "--small-steps", type=int, default=plan.small_steps, help="steps at the reduced resolution"
    )
    parser.add_argument(
        "--full-steps", type=int, default=plan.full_steps, help="steps at the full resolution"
    )
    parser.add_argument("--evaluation-scenes", type=int, default=1200)
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "clipcal-scenes",
        help="folder for the rendered scenes",
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def main() -> None:
    """Train, save the state and write the evaluation beside it."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    plan = Plan(arguments.scenes, arguments.small_steps, arguments.full_steps)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    state = train(plan, arguments.seed, arguments.cache, partial(torch.save, f=arguments.out))
    minutes = (time.monotonic() - began) / 60
    torch.save(state, arguments.out)
    # Training scenes are seeded [seed, i]; these come from another stream.
    evaluation = evaluate_state(state, arguments.evaluation_scenes, arguments.seed + 1_000_003)
    report = {
        "seed": arguments.seed,
        "scenes_trained_on": plan.scenes,
        "images_seen": plan.steps * plan.batch,
        "minutes": round(minutes, 1),
        "parameters": sum(p.numel() for p in load_finished(state).parameters()),
        **evaluation.as_json(),
    }
    arguments.out.with_name("evaluation.json").write_text(
        json.dumps(report, indent=2) + "\n", encoding="utf-8"
    )
    print(evaluation.table())


if __name__ == "__main__":
    main()

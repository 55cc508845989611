"""Clothes: revealing ones and ordinary ones, lying flat or worn on a torso."""

from __future__ import annotations

from numpy.random import Generator

from clipcal.demo.drawing import SKIN, Brush, Colour, jitter, pick_colour, shade
from clipcal.demo.objects.kind import ObjectKind


def _torso(brush: Brush, rng: Generator) -> None:
    """Draw a bare torso with upper arms and thighs, as a shop-window figure has them."""
    skin = jitter(rng, SKIN[int(rng.integers(len(SKIN)))], 10)
    for side in (-1, 1):
        brush.line([(side * 0.42, -0.6), (side * 0.62, 0.15)], 0.2, skin)
        brush.line([(side * 0.22, 0.5), (side * 0.26, 0.95)], 0.36, skin, caps=False)
    brush.rect(-0.14, -1.0, 0.14, -0.6, skin, edge=False)
    brush.smooth(
        [
            (-0.5, -0.7),
            (0.5, -0.7),
            (0.42, -0.2),
            (0.33, 0.1),
            (0.46, 0.6),
            (-0.46, 0.6),
            (-0.33, 0.1),
            (-0.42, -0.2),
        ],
        skin,
    )
    brush.ellipse(0, 0.18, 0.025, 0.035, shade(skin, 0.6), edge=False)


def _dots(
    brush: Brush,
    rng: Generator,
    colour: Colour,
    spots: tuple[tuple[float, float], ...],
) -> None:
    if rng.random() < 0.35:
        for x, y in spots:
            brush.ellipse(x, y, 0.045, 0.045, shade(colour, 1.5), edge=False)


def _cups(brush: Brush, colour: Colour, y: float) -> None:
    for side in (-1, 1):
        brush.line([(side * 0.24, y), (side * 0.36, y - 0.42)], 0.05, colour)
        brush.smooth(
            [
                (side * 0.03, y + 0.16),
                (side * 0.12, y - 0.1),
                (side * 0.27, y - 0.22),
                (side * 0.42, y - 0.05),
                (side * 0.43, y + 0.16),
            ],
            colour,
        )
    brush.line([(-0.45, y + 0.14), (0.45, y + 0.14)], 0.06, colour)


def _briefs(brush: Brush, colour: Colour, y: float, *, high: bool) -> None:
    rise = 0.08 if high else 0.2
    brush.smooth(
        [
            (-0.46, y - 0.2),
            (0, y - 0.14),
            (0.46, y - 0.2),
            (0.44, y - 0.2 + rise),
            (0.12, y + 0.25),
            (-0.12, y + 0.25),
            (-0.44, y - 0.2 + rise),
        ],
        colour,
    )


def bikini(brush: Brush, rng: Generator) -> str:
    """Draw a bikini, on a torso or lying flat."""
    name, colour = pick_colour(rng, "red", "yellow", "blue", "green", "pink", "purple", "orange")
    if rng.random() < 0.6:
        _torso(brush, rng)
    _cups(brush, colour, -0.38)
    _briefs(brush, colour, 0.55, high=True)
    _dots(brush, rng, colour, ((-0.25, -0.36), (0.25, -0.36), (0, 0.55), (-0.2, 0.45), (0.2, 0.45)))
    return name


def underwear(brush: Brush, rng: Generator) -> str:
    """Draw underpants, on a bare torso or alone and large."""
    name, colour = pick_colour(rng, "white", "black", "red", "blue", "grey", "pink")
    if rng.random() < 0.5:
        _torso(brush, rng)
        _briefs(brush, colour, 0.5, high=False)
        brush.line([(-0.45, 0.32), (0.45, 0.32)], 0.07, shade(colour, 0.8))
        return name
    brush.smooth(
        [
            (-0.95, -0.55),
            (0, -0.5),
            (0.95, -0.55),
            (0.85, 0.05),
            (0.25, 0.62),
            (-0.25, 0.62),
            (-0.85, 0.05),
        ],
        colour,
    )
    brush.line([(-0.92, -0.5), (0.92, -0.5)], 0.15, shade(colour, 0.8))
    for side in (-1, 1):
        brush.line(
            [(side * 0.84, 0.05), (side * 0.45, 0.2), (side * 0.26, 0.6)],
            0.05,
            shade(colour, 0.7),
            smooth=True,
        )
    return name


def bra(brush: Brush, rng: Generator) -> str:
    """Draw a bra, alone or on a torso."""
    name, colour = pick_colour(rng, "black", "red", "white", "pink", "purple")
    if rng.random() < 0.4:
        _torso(brush, rng)
        _cups(brush, colour, -0.38)
        _briefs(brush, colour, 0.52, high=False)
        return name
    wide = Brush(
        brush.draw,
        brush.centre,
        brush.radius,
        brush.angle,
        (brush.stretch[0] * 2.1, brush.stretch[1] * 2.1),
        brush.edge,
    )
    _cups(wide, colour, 0.12)
    return name


def t_shirt(brush: Brush, rng: Generator) -> str:
    """Draw a T-shirt, sometimes with a print."""
    name, colour = pick_colour(rng)
    brush.polygon(
        [
            (-0.3, -0.75),
            (0.3, -0.75),
            (0.98, -0.35),
            (0.8, 0.05),
            (0.52, -0.1),
            (0.52, 0.9),
            (-0.52, 0.9),
            (-0.52, -0.1),
            (-0.8, 0.05),
            (-0.98, -0.35),
        ],
        colour,
    )
    brush.ellipse(0, -0.75, 0.26, 0.13, shade(colour, 0.6))
    if rng.random() < 0.5:
        brush.ellipse(0, 0.12, 0.24, 0.24, pick_colour(rng)[1], edge=False)
    return name


def dress(brush: Brush, rng: Generator) -> str:
    """Draw a long dress with sleeves."""
    name, colour = pick_colour(rng)
    for side in (-1, 1):
        brush.line([(side * 0.26, -0.8), (side * 0.5, -0.45)], 0.24, colour)
    brush.polygon(
        [(-0.32, -0.95), (0.32, -0.95), (0.28, -0.25), (0.78, 0.95), (-0.78, 0.95), (-0.28, -0.25)],
        colour,
    )
    brush.ellipse(0, -0.95, 0.2, 0.1, shade(colour, 0.6), edge=False)
    brush.rect(-0.29, -0.3, 0.29, -0.18, pick_colour(rng)[1])
    for x in (-0.35, 0.0, 0.35):
        brush.line([(x * 0.4, -0.1), (x, 0.9)], 0.03, shade(colour, 0.75))
    return name


def coat(brush: Brush, rng: Generator) -> str:
    """Draw a long buttoned coat with a collar."""
    name, colour = pick_colour(rng, "brown", "black", "grey", "blue", "green", "red", "yellow")
    for side in (-1, 1):
        brush.line([(side * 0.42, -0.7), (side * 0.72, 0.3)], 0.28, shade(colour, 0.9), caps=False)
    brush.polygon(
        [(-0.46, -0.85), (0.46, -0.85), (0.5, 0.0), (0.6, 0.98), (-0.6, 0.98), (-0.5, 0.0)], colour
    )
    brush.line([(0, -0.5), (0, 0.96)], 0.04, shade(colour, 0.55), caps=False)
    for side in (-1, 1):
        brush.polygon([(0, -0.4), (side * 0.32, -0.92), (side * 0.36, -0.55)], shade(colour, 0.7))
        brush.rect(
            min(side * 0.2, side * 0.42),
            0.3,
            max(side * 0.2, side * 0.42),
            0.38,
            shade(colour, 0.65),
            edge=False,
        )
    for y in (-0.2, 0.1, 0.4, 0.7):
        brush.ellipse(0.1, y, 0.05, 0.05, (236, 220, 170))
    return name


def trousers(brush: Brush, rng: Generator) -> str:
    """Draw long trousers."""
    name, colour = pick_colour(rng, "blue", "black", "brown", "grey", "green", "red")
    brush.polygon(
        [
            (-0.5, -0.95),
            (0.5, -0.95),
            (0.6, 0.95),
            (0.14, 0.95),
            (0, -0.3),
            (-0.14, 0.95),
            (-0.6, 0.95),
        ],
        colour,
    )
    brush.rect(-0.5, -0.97, 0.5, -0.8, shade(colour, 0.7))
    brush.ellipse(0, -0.88, 0.06, 0.05, (220, 190, 90))
    for side in (-1, 1):
        brush.line([(side * 0.46, -0.72), (side * 0.28, -0.6)], 0.04, shade(colour, 0.6))
    return name


def hat(brush: Brush, rng: Generator) -> str:
    """Draw a brimmed hat with a band."""
    name, colour = pick_colour(rng, "brown", "black", "yellow", "red", "blue", "grey")
    brush.ellipse(0, 0.45, 0.98, 0.24, colour)
    brush.smooth(
        [
            (-0.52, 0.42),
            (-0.48, -0.4),
            (-0.15, -0.55),
            (0, -0.45),
            (0.15, -0.55),
            (0.48, -0.4),
            (0.52, 0.42),
        ],
        shade(colour, 1.08),
    )
    brush.rect(-0.53, 0.12, 0.53, 0.36, pick_colour(rng, "black", "red", "white")[1], edge=False)
    return name


def shoe(brush: Brush, rng: Generator) -> str:
    """Draw a lace-up shoe from the side."""
    name, colour = pick_colour(rng, "red", "blue", "black", "white", "green", "brown")
    brush.smooth(
        [(-0.9, -0.5), (-0.35, -0.5), (0.1, -0.08), (0.75, 0.05), (0.95, 0.35), (-0.92, 0.35)],
        colour,
    )
    brush.rect(-0.96, 0.3, 0.98, 0.52, jitter(rng, (240, 240, 236), 6), round_by=0.08)
    for x in (-0.28, -0.12, 0.05):
        brush.line([(x, -0.4 + (x + 0.28)), (x + 0.18, -0.46 + (x + 0.28))], 0.06, (250, 250, 250))
    brush.ellipse(-0.63, -0.5, 0.26, 0.08, shade(colour, 0.5))
    return name


_REVEALING = frozenset({"revealing_clothes"})
_REVEALING_WORDS = ("revealing clothes", "skimpy clothes", "somebody half naked")
_CLOTHES = ("ordinary clothes", "everyday clothing")

KINDS: tuple[ObjectKind, ...] = (
    ObjectKind(
        "bikini",
        ("a bikini", "a two-piece swimsuit"),
        bikini,
        _REVEALING,
        _REVEALING_WORDS,
        10,
        (0.44, 0.76),
    ),
    ObjectKind(
        "underwear",
        ("underwear", "underpants", "a pair of briefs"),
        underwear,
        _REVEALING,
        _REVEALING_WORDS,
        10,
        (0.4, 0.72),
    ),
    ObjectKind(
        "bra",
        ("a bra", "lingerie", "a lace bra"),
        bra,
        _REVEALING,
        (*_REVEALING_WORDS, "underwear"),
        10,
        (0.42, 0.72),
    ),
    ObjectKind("t-shirt", ("a t-shirt", "a shirt", "a cotton shirt"), t_shirt, groups=_CLOTHES),
    ObjectKind(
        "dress", ("a dress", "a long dress", "a gown"), dress, groups=_CLOTHES, size=(0.42, 0.72)
    ),
    ObjectKind(
        "coat", ("a coat", "a winter coat", "a jacket"), coat, groups=_CLOTHES, size=(0.42, 0.72)
    ),
    ObjectKind(
        "trousers",
        ("trousers", "a pair of trousers", "jeans"),
        trousers,
        groups=_CLOTHES,
        size=(0.4, 0.7),
    ),
    ObjectKind("hat", ("a hat", "a brimmed hat"), hat, groups=_CLOTHES),
    ObjectKind("shoe", ("a shoe", "a sports shoe", "a sneaker"), shoe, groups=_CLOTHES),
)

"""Bottles, glasses and cups: alcohol and what looks like it."""

from __future__ import annotations

from numpy.random import Generator

from clipcal.demo.drawing import WOOD, Brush, Colour, jitter, pick_colour, shade
from clipcal.demo.objects.kind import ObjectKind

GLASS: Colour = (214, 230, 238, 130)
SHINE: Colour = (255, 255, 255, 130)


def _bottle(brush: Brush, body: Colour, *, neck: float, shoulder: float, width: float) -> None:
    """Draw a bottle whose neck is `neck` wide and starts to widen at height `shoulder`."""
    half, throat = width / 2, neck / 2
    side = [(throat, -0.98), (throat, shoulder - 0.28), (half, shoulder), (half, 0.95)]
    brush.polygon([*side, *((-x, y) for x, y in reversed(side))], body)
    brush.line([(-half * 0.6, shoulder + 0.12), (-half * 0.6, 0.8)], width * 0.09, SHINE)


def wine_bottle(brush: Brush, rng: Generator) -> str:
    """Draw a slim dark bottle with foil and label."""
    glass = [(30, 62, 38), (52, 26, 30), (26, 44, 30), (96, 110, 50)][int(rng.integers(4))]
    width = rng.uniform(0.5, 0.62)
    _bottle(brush, jitter(rng, glass, 10), neck=0.2, shoulder=rng.uniform(-0.2, -0.05), width=width)
    foil = pick_colour(rng, "red", "black", "purple", "yellow")[1]
    brush.rect(-0.12, -1.0, 0.12, rng.uniform(-0.75, -0.6), foil)
    label = jitter(rng, (238, 228, 200))
    top = rng.uniform(0.1, 0.22)
    brush.rect(-width / 2, top, width / 2, top + 0.5, label)
    ink = pick_colour(rng, "red", "purple", "black", "brown")[1]
    brush.rect(-width * 0.3, top + 0.1, width * 0.3, top + 0.17, ink, edge=False)
    brush.ellipse(0, top + 0.32, 0.1, 0.09, ink, edge=False)
    return ""


def beer_bottle(brush: Brush, rng: Generator) -> str:
    """Draw a brown or green bottle with crown cap and label."""
    glass = [(122, 66, 22), (104, 54, 20), (34, 108, 52)][int(rng.integers(3))]
    width = rng.uniform(0.62, 0.74)
    _bottle(brush, jitter(rng, glass, 12), neck=0.26, shoulder=rng.uniform(-0.16, 0.0), width=width)
    cap = pick_colour(rng, "red", "yellow", "white", "blue")[1]
    brush.rect(-0.17, -1.0, 0.17, -0.88, cap)
    label = pick_colour(rng, "yellow", "red", "white", "green")[1]
    brush.rect(-width / 2, 0.2, width / 2, 0.66, label)
    brush.ellipse(0, 0.43, width * 0.28, 0.15, jitter(rng, (250, 240, 205)))
    brush.rect(-0.13, -0.52, 0.13, -0.36, label)
    return ""


def _tumbler(brush: Brush, rng: Generator, filling: Colour | None, level: float) -> float:
    """Draw a straight glass filled up to `level`; return its half width at the rim."""
    rim, foot = rng.uniform(0.5, 0.62), rng.uniform(0.36, 0.46)

    def half(y: float) -> float:
        return foot + (rim - foot) * (0.95 - y) / 1.85

    brush.polygon([(-rim, -0.9), (rim, -0.9), (foot, 0.95), (-foot, 0.95)], GLASS)
    if filling is not None:
        top = half(level) - 0.05
        brush.polygon(
            [(-top, level), (top, level), (foot - 0.05, 0.86), (0.05 - foot, 0.86)],
            filling,
            edge=False,
        )
        brush.ellipse(0, level, top, 0.07, shade(filling, 1.12), edge=False)
    brush.ellipse(0, -0.9, rim, 0.09, (255, 255, 255, 110))
    brush.line([(-rim * 0.7, -0.6), (-foot * 0.75, 0.7)], 0.07, SHINE)
    return rim


def beer_glass(brush: Brush, rng: Generator) -> str:
    """Draw golden beer with foam, in a mug with a handle or in a pint glass."""
    beer = jitter(rng, [(226, 158, 34), (240, 182, 48), (196, 116, 30)][int(rng.integers(3))])
    foam = jitter(rng, (250, 244, 226), 5)
    mug = rng.random() < 0.6
    if mug:
        brush.line(
            [(0.5, -0.4), (0.92, -0.3), (0.92, 0.35), (0.5, 0.5)],
            0.16,
            (214, 222, 226),
            smooth=True,
        )
    rim, foot = (0.56, 0.56) if mug else (0.52, 0.36)
    brush.polygon([(-rim, -0.6), (rim, -0.6), (foot, 0.95), (-foot, 0.95)], (232, 236, 236))
    brush.polygon(
        [(-rim + 0.06, -0.6), (rim - 0.06, -0.6), (foot - 0.06, 0.85), (0.06 - foot, 0.85)],
        beer,
        edge=False,
    )
    for _ in range(int(rng.integers(5, 12))):
        x, y = rng.uniform(-0.3, 0.3), rng.uniform(-0.3, 0.75)
        brush.ellipse(x, y, 0.03, 0.03, shade(beer, 1.3), edge=False)
    for x in (-0.4, -0.14, 0.14, 0.4):
        brush.ellipse(x * rim / 0.52, -0.68, 0.19, rng.uniform(0.16, 0.24), foam)
    brush.rect(-rim, -0.74, rim, -0.42, foam, round_by=0.08, edge=False)
    brush.line([(-rim * 0.62, -0.25), (-foot * 0.66, 0.7)], 0.07, SHINE)
    return ""


def wine_glass(brush: Brush, rng: Generator) -> str:
    """Draw a stemmed glass of red or white wine."""
    wine = jitter(rng, [(124, 14, 40), (146, 20, 48), (236, 214, 120)][int(rng.integers(3))], 10)
    w = rng.uniform(0.46, 0.58)
    bowl = [
        (-w * 0.85, -0.98),
        (-w, -0.5),
        (-w * 0.75, -0.1),
        (0, 0.1),
        (w * 0.75, -0.1),
        (w, -0.5),
        (w * 0.85, -0.98),
    ]
    stem = (226, 232, 238)
    brush.line([(0, 0.05), (0, 0.88)], 0.09, stem)
    brush.ellipse(0, 0.92, 0.42, 0.08, stem)
    brush.smooth(bowl, (224, 234, 240, 140))
    level = rng.uniform(-0.7, -0.42)
    top = w * 0.9
    brush.smooth(
        [(-top, level), (-w * 0.7, -0.12), (0, 0.05), (w * 0.7, -0.12), (top, level)],
        wine,
        edge=False,
    )
    brush.ellipse(0, level, top, 0.06, shade(wine, 1.25), edge=False)
    brush.line([(-w * 0.68, -0.8), (-w * 0.75, -0.45)], 0.06, SHINE)
    return ""


def cocktail(brush: Brush, rng: Generator) -> str:
    """Draw a cone-shaped cocktail glass with an olive or a cherry."""
    drink = pick_colour(rng, "orange", "pink", "green", "red", "yellow")[1]
    stem = (226, 232, 238)
    brush.line([(0, 0.1), (0, 0.9)], 0.08, stem)
    brush.ellipse(0, 0.93, 0.4, 0.07, stem)
    brush.polygon([(-0.85, -0.75), (0.85, -0.75), (0, 0.15)], (224, 234, 240, 160))
    brush.polygon([(-0.68, -0.58), (0.68, -0.58), (0, 0.1)], drink, edge=False)
    brush.line([(-0.1, -0.35), (0.6, -1.0)], 0.04, WOOD)
    brush.ellipse(0.1, -0.52, 0.13, 0.13, pick_colour(rng, "green", "red")[1])
    return ""


def water_glass(brush: Brush, rng: Generator) -> str:
    """Draw a clear glass of water."""
    _tumbler(brush, rng, (150, 204, 236, 170), rng.uniform(-0.6, -0.2))
    return ""


def milk_glass(brush: Brush, rng: Generator) -> str:
    """Draw a glass of milk."""
    _tumbler(brush, rng, jitter(rng, (250, 248, 240), 4), rng.uniform(-0.65, -0.35))
    return ""


def juice_glass(brush: Brush, rng: Generator) -> str:
    """Draw a glass of orange juice with a straw and a slice of orange."""
    brush.line([(0.0, 0.3), (0.42, -1.05)], 0.09, pick_colour(rng, "red", "green", "blue")[1])
    rim = _tumbler(brush, rng, jitter(rng, (250, 140, 20), 8), rng.uniform(-0.65, -0.45))
    brush.ellipse(-rim, -0.85, 0.27, 0.27, (250, 150, 30))
    brush.ellipse(-rim, -0.85, 0.19, 0.19, (255, 206, 110), edge=False)
    return ""


def water_bottle(brush: Brush, rng: Generator) -> str:
    """Draw a clear plastic bottle with ribs and a blue cap."""
    width = rng.uniform(0.62, 0.74)
    _bottle(brush, jitter(rng, (176, 216, 240), 8), neck=0.28, shoulder=-0.38, width=width)
    cap = pick_colour(rng, "blue", "white", "green")[1]
    brush.rect(-0.18, -1.0, 0.18, -0.82, cap)
    for y in (0.5, 0.65, 0.8):
        brush.line([(-width / 2 + 0.04, y), (width / 2 - 0.04, y)], 0.035, (120, 176, 214))
    brush.rect(-width / 2, -0.18, width / 2, 0.3, jitter(rng, (60, 130, 214)))
    brush.smooth([(-0.2, 0.08), (0, -0.08), (0.2, 0.08), (0, 0.18)], (240, 248, 255), edge=False)
    return ""


def ketchup(brush: Brush, rng: Generator) -> str:
    """Draw a red squeeze bottle with a pointed white cap."""
    red = jitter(rng, (206, 28, 26), 10)
    brush.polygon(
        [(-0.1, -1.0), (0.1, -1.0), (0.26, -0.62), (-0.26, -0.62)],
        pick_colour(rng, "white", "red")[1],
    )
    brush.rect(-0.42, -0.64, 0.42, 0.95, red, round_by=0.16)
    brush.rect(-0.42, -0.12, 0.42, 0.5, jitter(rng, (250, 246, 238), 4))
    brush.ellipse(0, 0.19, 0.2, 0.2, red, edge=False)
    brush.rect(-0.05, -0.08, 0.05, 0.04, (60, 150, 60), edge=False)
    return ""


def cup(brush: Brush, rng: Generator) -> str:
    """Draw a mug with a handle, sometimes steaming."""
    name, colour = pick_colour(rng)
    brush.line(
        [(0.5, -0.25), (0.95, -0.1), (0.85, 0.42), (0.45, 0.5)],
        0.15,
        shade(colour, 0.9),
        smooth=True,
    )
    brush.polygon([(-0.66, -0.45), (0.62, -0.45), (0.5, 0.85), (-0.54, 0.85)], colour)
    brush.ellipse(-0.02, -0.45, 0.64, 0.13, shade(colour, 0.75))
    brush.ellipse(-0.02, -0.43, 0.54, 0.09, (84, 50, 28), edge=False)
    if rng.random() < 0.5:
        for x in (-0.25, 0.15):
            brush.line(
                [(x, -0.6), (x + 0.1, -0.75), (x - 0.05, -0.9), (x + 0.05, -1.0)],
                0.06,
                (255, 255, 255, 150),
                smooth=True,
                caps=False,
            )
    return name


_ALCOHOL = frozenset({"alcohol"})
_ALCOHOL_WORDS = ("alcohol", "an alcoholic drink", "booze")
_DRINK_WORDS = ("a soft drink", "a drink without alcohol")

KINDS: tuple[ObjectKind, ...] = (
    ObjectKind(
        "wine bottle",
        ("a wine bottle", "a bottle of wine", "a bottle of red wine"),
        wine_bottle,
        _ALCOHOL,
        _ALCOHOL_WORDS,
        14,
        (0.45, 0.78),
    ),
    ObjectKind(
        "beer bottle",
        ("a beer bottle", "a bottle of beer", "a brown bottle of beer"),
        beer_bottle,
        _ALCOHOL,
        (*_ALCOHOL_WORDS, "beer"),
        14,
        (0.45, 0.76),
    ),
    ObjectKind(
        "beer glass",
        ("a beer glass", "a glass of beer", "a pint of beer", "a mug of beer"),
        beer_glass,
        _ALCOHOL,
        (*_ALCOHOL_WORDS, "beer"),
        8,
        (0.34, 0.62),
    ),
    ObjectKind(
        "wine glass",
        ("a wine glass", "a glass of wine", "a glass of red wine"),
        wine_glass,
        _ALCOHOL,
        (*_ALCOHOL_WORDS, "wine"),
        8,
        (0.4, 0.7),
    ),
    ObjectKind(
        "cocktail",
        ("a cocktail", "a martini", "a cocktail glass"),
        cocktail,
        _ALCOHOL,
        _ALCOHOL_WORDS,
        8,
        (0.4, 0.66),
    ),
    ObjectKind(
        "water glass",
        ("a glass of water", "a water glass"),
        water_glass,
        groups=_DRINK_WORDS,
        turn=8,
    ),
    ObjectKind("milk glass", ("a glass of milk", "milk"), milk_glass, groups=_DRINK_WORDS, turn=8),
    ObjectKind(
        "juice glass",
        ("a glass of juice", "orange juice", "a glass of orange juice"),
        juice_glass,
        groups=_DRINK_WORDS,
        turn=8,
        size=(0.38, 0.64),
    ),
    ObjectKind(
        "water bottle",
        ("a water bottle", "a bottle of water", "a plastic bottle"),
        water_bottle,
        groups=_DRINK_WORDS,
        turn=14,
        size=(0.45, 0.75),
    ),
    ObjectKind(
        "ketchup",
        ("a ketchup bottle", "ketchup", "a bottle of ketchup"),
        ketchup,
        groups=("food",),
        turn=14,
        size=(0.38, 0.68),
    ),
    ObjectKind(
        "cup",
        ("a cup", "a mug", "a cup of coffee", "a coffee mug"),
        cup,
        groups=("a hot drink",),
        turn=8,
    ),
)

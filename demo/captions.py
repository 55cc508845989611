"""Sentences about scenes: what may be said, in which words, and whether it is true.

A *fact* is a string such as ``"kind:gun"``, ``"red car"`` or ``"place:street"`` that holds in a
scene. A *mention* is a phrase together with the facts any one of which makes it true. A *caption*
is a sentence that makes one or more mentions; it is true where all of them are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from numpy.random import Generator

from clipcal.demo.drawing import PALETTE
from clipcal.demo.scenes import CATEGORIES, OBJECTS, ObjectKind, Scene

T = TypeVar("T")

TRAINING_PATTERNS: tuple[str, ...] = (
    "{}",
    "{}",
    "{}.",
    "a photo of {}",
    "a photo of {}.",
    "a picture of {}",
    "a picture with {}",
    "an image of {}",
    "an image showing {}",
    "there is {}",
    "there is {} in the picture",
    "here is {}",
    "a drawing of {}",
    "a photograph of {}",
    "a close-up of {}",
    "a blurry photo of {}",
    "a dark picture of {}",
    "a bright photo of {}",
    "the picture contains {}",
    "the image shows {}",
    "in the picture there is {}",
    "a scene with {}",
    "a scene that has {} in it",
    "{} is visible",
    "{} in the foreground",
    "{} and other things",
    "it is {}",
    "we see {}",
    "you can see {}",
    "a snapshot of {} from the side",
    "{} lying on a table",
    "look, {}",
)
"""Sentence patterns that the model is trained with."""

HELD_OUT_PATTERNS: tuple[str, ...] = (
    "one can see {} here",
    "this shows {}",
    "somebody left {} in the picture",
    "{}, drawn by a computer",
    "an illustration featuring {}",
    "what I notice is {}",
    "{} was found at the scene",
    "the camera captured {}",
    "my favourite photo includes {}",
    "a view where {} appears",
)
"""Sentence patterns kept out of training, to measure how well wording generalises."""

PAIR_PATTERNS: tuple[str, ...] = (
    "{} and {}",
    "{} next to {}",
    "a photo of {} and {}",
    "there is {} next to {}",
    "a picture with {} and {}",
    "{} beside {}",
    "an image of {} with {}",
)
"""Training patterns for two things."""

PLACE_PATTERNS: tuple[str, ...] = ("{} in {}", "a photo of {} in {}", "{} before {}", "{} with {}")
"""Training patterns for a thing and the place it is in."""

_PLACES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "room": ("a room with a table", "a room", "a table against a wall", "an indoor scene"),
        "meadow": ("grass and sky", "a meadow", "a green field", "the countryside"),
        "street": ("a street", "a road with houses", "a city street", "an empty street"),
        "beach": ("a beach", "the sea and sand", "the seaside"),
        "plain": ("a plain background", "a smooth background", "nothing but colour"),
        "texture": ("a patterned background", "a textured background", "tiles or stripes"),
        "night": ("the night sky", "a dark night", "moon and stars"),
    }
)

_CATEGORY_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "alcohol": ("alcohol", "alcoholic drinks", "drinking"),
        "smoking": ("smoking", "tobacco products"),
        "drugs": ("drugs", "drug use", "substances"),
        "weapons": ("weapons", "an armed scene", "violence with a weapon"),
        "gore": ("gore", "blood and gore", "something gruesome"),
        "rude_gesture": ("a rude gesture", "an insulting gesture"),
        "revealing_clothes": ("revealing clothes", "skimpy clothing", "nudity"),
    }
)

_CALM_WORDS = (
    "an everyday object",
    "ordinary things",
    "a harmless picture",
    "an innocent scene",
    "everyday objects",
    "something harmless",
    "a normal photo",
)
_SENSITIVE_WORDS = (
    "something inappropriate",
    "inappropriate content",
    "offensive content",
    "something offensive",
)


@dataclass(frozen=True, slots=True)
class Mention:
    """A phrase and the facts any one of which makes it true."""

    text: str
    any_of: frozenset[str]


@dataclass(frozen=True, slots=True)
class Caption:
    """A sentence: its pattern and the mentions that fill it."""

    pattern: str
    mentions: tuple[Mention, ...]

    @property
    def text(self) -> str:
        """The sentence in words."""
        return self.pattern.format(*(mention.text for mention in self.mentions))

    def holds(self, known: frozenset[str]) -> bool:
        """Say whether the sentence is true of a scene with the facts `known`."""
        return all(mention.any_of & known for mention in self.mentions)


def facts(scene: Scene) -> frozenset[str]:
    """Return everything that a caption of `scene` may state."""
    coloured = (
        f"{colour} {name}"
        for name, colour in zip(scene.objects, scene.colours, strict=True)
        if colour
    )
    mood = "sensitive" if scene.categories else "calm"
    return frozenset(
        (*(f"kind:{name}" for name in scene.objects), *coloured, f"place:{scene.background}", mood)
    )


def _kinds_saying(word: str) -> frozenset[str]:
    return frozenset(
        f"kind:{kind.name}" for kind in OBJECTS.values() if word in (*kind.nouns, *kind.groups)
    )


def _category_mentions() -> list[Mention]:
    return [
        Mention(word, frozenset(f"kind:{name}" for name in CATEGORIES[category]))
        for category, words in _CATEGORY_WORDS.items()
        for word in words
    ]


def _with_colour(noun: str, colour: str) -> str:
    """Put a colour into a noun phrase: "a car" becomes "an orange car"."""
    article, _, rest = noun.partition(" ")
    if article not in {"a", "an"}:
        return f"{colour} {noun}"
    return f"{'an' if colour == 'orange' else 'a'} {colour} {rest}"


def coloured_mention(kind: ObjectKind, noun: str, colour: str) -> Mention:
    """Return the mention of an object of one kind in one colour."""
    return Mention(_with_colour(noun, colour), frozenset({f"{colour} {kind.name}"}))


def plain_mentions() -> tuple[Mention, ...]:
    """Return every mention that does not say a colour."""
    words = dict.fromkeys(w for kind in OBJECTS.values() for w in (*kind.nouns, *kind.groups))
    found = {word: Mention(word, _kinds_saying(word)) for word in words}
    for mention in _category_mentions():
        found[mention.text] = mention
    for place, phrases in _PLACES.items():
        for phrase in phrases:
            found[phrase] = Mention(phrase, frozenset({f"place:{place}"}))
    for phrase in _CALM_WORDS:
        found[phrase] = Mention(phrase, frozenset({"calm"}))
    for phrase in _SENSITIVE_WORDS:
        found[phrase] = Mention(phrase, frozenset({"sensitive"}))
    return tuple(found.values())


_PLAIN = plain_mentions()
_MOODS = frozenset({"calm", "sensitive"})
_BY_FACT: Mapping[str, tuple[Mention, ...]] = MappingProxyType(
    {
        fact: tuple(mention for mention in _PLAIN if fact in mention.any_of)
        for fact in sorted(frozenset().union(*(mention.any_of for mention in _PLAIN)))
    }
)


def _pick(rng: Generator, choices: tuple[T, ...]) -> T:
    return choices[int(rng.integers(len(choices)))]


def draw_mention(rng: Generator, fact: str) -> Mention:
    """Draw a way of stating `fact`."""
    if fact in _BY_FACT:
        return _pick(rng, _BY_FACT[fact])
    colour, _, name = fact.partition(" ")
    return coloured_mention(OBJECTS[name], _pick(rng, OBJECTS[name].nouns), colour)


def draw_caption(rng: Generator, known: frozenset[str]) -> Caption:
    """Draw a true caption of a scene with the facts `known`."""
    ordered = sorted(known)
    things = tuple(f for f in ordered if not f.startswith("place:") and f not in _MOODS)
    chance = rng.random()
    if chance < 0.08 or not things:
        rest = tuple(f for f in ordered if f not in things)
        return Caption(_pick(rng, TRAINING_PATTERNS), (draw_mention(rng, _pick(rng, rest)),))
    thing = draw_mention(rng, _pick(rng, things))
    if chance < 0.16:
        other = draw_mention(rng, _pick(rng, things))
        return Caption(_pick(rng, PAIR_PATTERNS), (thing, other))
    if chance < 0.22:
        place = next(f for f in ordered if f.startswith("place:"))
        return Caption(_pick(rng, PLACE_PATTERNS), (thing, draw_mention(rng, place)))
    return Caption(_pick(rng, TRAINING_PATTERNS), (thing,))


def random_caption(rng: Generator) -> Caption:
    """Draw a caption of one mention without regard to any scene."""
    return Caption(_pick(rng, TRAINING_PATTERNS), (_pick(rng, _PLAIN),))


def vocabulary() -> frozenset[str]:
    """Return phrases that together hold every word of the training captions."""
    colours = frozenset(
        coloured_mention(kind, noun, colour).text
        for kind in OBJECTS.values()
        for noun in kind.nouns
        for colour in PALETTE
    )
    patterns = (*TRAINING_PATTERNS, *PAIR_PATTERNS, *PLACE_PATTERNS)
    words = frozenset(piece for pattern in patterns for piece in pattern.split("{}"))
    return words | colours | frozenset(mention.text for mention in _PLAIN)

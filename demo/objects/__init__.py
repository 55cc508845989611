"""The object kinds that scenes are made of, and the demo's categories."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from clipcal.demo.objects import body, clothes, drinks, household, outdoors, substances, tools
from clipcal.demo.objects.kind import ObjectKind

_KINDS = (
    *drinks.KINDS,
    *substances.KINDS,
    *tools.KINDS,
    *body.KINDS,
    *clothes.KINDS,
    *household.KINDS,
    *outdoors.KINDS,
)

OBJECTS: Mapping[str, ObjectKind] = MappingProxyType({kind.name: kind for kind in _KINDS})

_CATEGORY_NAMES = (
    "alcohol",
    "smoking",
    "drugs",
    "weapons",
    "gore",
    "rude_gesture",
    "revealing_clothes",
)

CATEGORIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        category: tuple(kind.name for kind in _KINDS if category in kind.categories)
        for category in _CATEGORY_NAMES
    }
)
"""Each category of the demo, with the names of the kinds that belong to it."""

__all__ = ["CATEGORIES", "OBJECTS", "ObjectKind"]

"""Label Studio: what annotators say, as its exports have it.

As documented in Label Studio's guide under "Export annotations" (JSON and JSON_MIN).

A control that is named as a category gives its level. People's own projects may instead have one
control whose choices, or whose boxes, are named as categories; that says which categories are
there, and no more. JSON_MIN writes a single choice, and a single text, as a plain string; several
as an object; and what belongs to regions as a list of either. It does not tell the answers from
the fields that a task had before.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import BaseModel, TypeAdapter

from clipcal.calibrate.labels.exchange.cells import Cell, Looked, settle
from clipcal.calibrate.labels.exchange.json_file import read_json, shaped
from clipcal.calibrate.labels.exchange.records import PRESENT, Asked, Read, origin_of
from clipcal.calibrate.labels.exchange.unread import Unread
from clipcal.calibrate.labels.formats import CLASS_NAMES
from clipcal.calibrate.labels.frame import IMAGE_NAMES, some
from clipcal.calibrate.labels.sheet import name_key
from clipcal.calibrate.labels.words import BINARY
from clipcal.errors import LabelError

_WHAT: Final = "list of Label Studio's tasks"
_UPLOADED: Final = re.compile(r"(?:^|/)upload/\d+/[0-9a-f]{8}-([^/]+)$")
_CHOICE_KEYS: Final = {*CLASS_NAMES, "choice", "choices", "labels", "tags", "categories"}
# Fields of a task in JSON_MIN that Label Studio, or our own export, writes.
_OWN_KEYS: Final = {
    *("id", "annotator", "annotationid", "createdat", "updatedat", "leadtime", "wascancelled"),
    *("item", "sha256", "origin"),
}
Kind = Literal["choices", "labels", "rating", "text", "unread"]


class _Result(BaseModel):
    """What one control says."""

    from_name: str = ""
    type: str = ""
    value: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None


class _Annotation(BaseModel):
    """What one person says of a task, or did before skipping it."""

    completed_by: int | str | dict[str, Any] | None = None
    result: list[_Result] | None = None
    was_cancelled: bool | None = None


class _Task(BaseModel):
    """A task as JSON has it."""

    data: dict[str, Any]
    annotations: list[_Annotation] | None = None


_LIST: Final = TypeAdapter(list[dict[str, Any]])
_TASK: Final = TypeAdapter(_Task)


def read_label_studio(data: bytes, asked: Asked) -> Read:
    """Read the annotations of an export, JSON or JSON_MIN; predictions are nobody's labels.

    Parameters
    ----------
    data : bytes
        The file.
    asked : Asked
        What is wanted.

    Returns
    -------
    Read
        What each annotator says. Skipped tasks say nothing. Of a control that is named as a
        category the choice is the level, and a rating counts the levels from 1. Other choices
        and boxes that are named as categories say that these are there; so do plain strings in
        JSON_MIN, of whichever field. Whatever else a control says is listed, and with
        `exhaustive` no category that it may mean is absent.

    Raises
    ------
    LabelError
        If the file is no such list, a task names no image, a level is unknown, or there is
        nothing about the categories but about others.
    """
    tasks = read_json(data, asked.name, _LIST, _WHAT)
    reader = _Reader(asked)
    for number, task in enumerate(tasks, start=1):
        where = f"task {number}"
        if isinstance(task.get("data"), dict):
            reader.task(shaped(task, asked.name, where, _TASK, _WHAT), where)
        else:
            reader.flat(task, where)
    reader.sort_texts()
    cells, notes = reader.cells, reader.notes
    if asked.exhaustive:
        among = dict.fromkeys(cell.category for cell in cells)
        more, on_unread = reader.unread.absent(cells, reader.looked, among)
        cells, notes = [*cells, *more], (*notes, *on_unread)
    read = settle(cells, asked, "label-studio", reader.ignored)
    return replace(read, notes=(*read.notes, *notes))


@dataclass(slots=True)
class _Reader:
    """Gathers what tasks say."""

    asked: Asked
    unread: Unread = field(init=False)
    cells: list[Cell] = field(default_factory=list)
    looked: list[Looked] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    # Of JSON_MIN: strings that are no category, with image and field; fields with some that are
    # one; and what is an answer for sure.
    texts: list[tuple[str, str, str]] = field(default_factory=list)
    fields: dict[str, None] = field(default_factory=dict)
    controls: set[str] = field(default_factory=set)
    ratings: int = 0
    skipped: int = 0

    def __post_init__(self) -> None:
        self.unread = Unread(self.asked)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was guessed or left out."""
        ladder = " < ".join(self.asked.levels or BINARY)
        rated = f"{self.ratings:,} ratings are read as {ladder}, from 1 on."
        skipped = f"{self.skipped:,} skipped annotations say nothing."
        sure = self.controls
        guessed = [n for n in self.fields if n not in sure and name_key(n) not in _CHOICE_KEYS]
        fields = (
            f"Read as answers: {some(guessed, 10)}. JSON-MIN does not tell answers from what a "
            f"task had before; if one of these is no answer, export as JSON."
        )
        told = ((self.ratings, rated), (self.skipped, skipped), (guessed, fields))
        return tuple(note for holds, note in told if holds)

    def task(self, task: _Task, where: str) -> None:
        """Take what each annotator says of a task."""
        for annotation in task.annotations or ():
            if annotation.was_cancelled:
                self.skipped += 1
                continue
            who = _person(annotation.completed_by)
            seen = self._looked(task.data, where, who)
            results = annotation.result or []
            kept = results[0].meta if results else None  # our own exports name the rater there
            self.looked.append(_as_kept(seen, kept, self.asked))
            for result in results:
                one = _as_kept(seen, result.meta, self.asked)
                for kind, part in _parts(result.value):
                    self._take(one, result.from_name, kind, part)

    def flat(self, task: Mapping[str, Any], where: str) -> None:
        """Take what an annotator says, in a task of JSON_MIN."""
        if task.get("was_cancelled"):
            self.skipped += 1
            return
        seen = self._looked(task, where, _person(task.get("annotator")))
        self.looked.append(seen)
        image = _image_key(task)
        for name, value in task.items():
            key, named = name_key(name), self.asked.category(name) is not None
            plain = value is None or isinstance(value, str | int | float)
            if plain and not named and (key in _OWN_KEYS or key == image):
                continue
            if named or not isinstance(value, int | float):  # other numbers are no answers
                for kind, part in _parts(value):
                    self._take(seen, name, kind, part)

    def sort_texts(self) -> None:
        """Tell the choices that are no category from what is written in other fields."""
        answers = self.fields.keys() | self.controls
        for image, name, text in self.texts:
            if name in answers or name_key(name) in _CHOICE_KEYS:
                self.ignored[f"{name}: {text}"] += 1
                self.unread.word(image, text)
            elif name_key(name) not in IMAGE_NAMES:
                self.ignored[name] += 1
                self.unread.within(image, text)

    def _take(self, seen: Looked, control: str, kind: Kind, part: Any) -> None:
        """Take a part of what one control says."""
        category = self.asked.category(control)
        if kind == "unread":
            self._leave(seen, control, part)
        elif kind == "rating":
            if category is None:
                self.ignored[control] += 1
                return
            self.ratings += 1
            self._keep(seen, category, self._rated(control, part))
        else:
            self._word(seen, control, kind, part)

    def _word(self, seen: Looked, control: str, kind: Kind, word: str) -> None:
        category, named = self.asked.category(control), self.asked.category(word)
        if kind != "text":
            self.controls.add(control)
        if category and kind != "labels" and named != category:
            self._keep(seen, category, word)
        elif named:
            self._keep(seen, named, PRESENT, bare=True)
            if kind == "text" and not category:
                self.fields[control] = None
        elif kind == "text":
            self.texts.append((seen.image, control, word))
        else:
            self.ignored[f"{control}: {word}"] += 1
            self.unread.word(seen.image, word)

    def _leave(self, seen: Looked, control: str, part: Any) -> None:
        """Leave out what cannot be read, but remember which categories it may mean."""
        self.ignored[control] += 1
        for text in _texts(part):
            self.unread.within(seen.image, text)
        if category := self.asked.category(control):
            self.unread.one(seen.image, category)
        elif not isinstance(part, dict | list):  # such as a choice that is a number
            self.unread.all_of(seen.image)

    def _keep(self, seen: Looked, category: str, word: str, *, bare: bool = False) -> None:
        where, image, sha256, rater, origin = seen
        self.cells.append(Cell(where, image, sha256, category, word, rater, origin, bare))

    def _rated(self, control: str, value: object) -> str:
        levels = self.asked.levels or BINARY
        if isinstance(value, int) and 1 <= value <= len(levels):
            return levels[value - 1]
        raise LabelError(
            f"{self.asked.name}: the rating {value} of '{control}' is none of 1 to {len(levels)}, "
            f"which stand for {', '.join(levels)}. Use Choices with these levels: clipcal labels "
            f"export --format label-studio --config FILE.xml"
        )

    def _looked(self, data: Mapping[str, Any], where: str, who: str) -> Looked:
        """Tell which image a task is about."""
        keys, key = _strings(data), _image_key(data)
        if not key:
            raise LabelError(
                f"{self.asked.name}, {where}: no field names its image. Name it 'image' in the "
                f"project's data, export again, then run the same command again."
            )
        origin = origin_of(data.get("origin"), self.asked)
        return Looked(where, file_name(keys[key]), keys.get("sha256", ""), who, origin)


def file_name(address: str) -> str:
    """Return the path that an address of Label Studio's stands for.

    Uploaded files are called ``…/upload/PROJECT/HASH-NAME``, those of local storage
    ``…/data/local-files/?d=PATH``; of other web addresses it is the path.

    Parameters
    ----------
    address : str
        As in a task's data.

    Returns
    -------
    str
        A path, or a name, as `match_images` takes it.
    """
    uploaded = _UPLOADED.search(address)
    if uploaded:
        return unquote(uploaded[1])
    try:
        parts = urlsplit(address)
    except ValueError:  # such as a path with a bracket after two slashes
        return address
    if parts.path.endswith("/local-files/"):
        return "".join(parse_qs(parts.query).get("d", [address])[:1])
    return unquote(parts.path) if parts.scheme in ("http", "https") else address


def _as_kept(seen: Looked, meta: Mapping[str, Any] | None, asked: Asked) -> Looked:
    """Take rater and origin as our own export wrote them down, where it did."""
    rater, origin = (meta or {}).get("rater"), (meta or {}).get("origin")
    if isinstance(rater, str) and rater.strip():
        seen = seen._replace(rater=rater.strip())
    return seen if origin is None else seen._replace(origin=origin_of(origin, asked))


def _person(who: object) -> str:
    """Name an annotator; empty where the file does not."""
    if isinstance(who, dict):
        return str(who.get("email") or "").strip() or _person(who.get("id"))
    return f"user {who}" if isinstance(who, int) else who.strip() if isinstance(who, str) else ""


def _parts(value: object) -> Iterator[tuple[Kind, Any]]:
    """Yield what a control says, a word or a rating at a time."""
    if isinstance(value, str):
        if value.strip():
            yield "text", value
    elif isinstance(value, list):
        for one in value:
            yield from _parts(one)
    elif isinstance(value, dict):
        marks = [key for key in value if key == "choices" or key.endswith("labels")]
        for key in marks:
            yield from _words("choices" if key == "choices" else "labels", value[key])
        if "rating" in value:
            yield from _parts(value["rating"])
        elif not marks:
            yield "unread", value
    elif value is not None:
        yield ("unread" if isinstance(value, bool) else "rating"), value


def _words(kind: Kind, value: object) -> Iterator[tuple[Kind, Any]]:
    """Yield the choices, or what a box is called; null is no choice, but one in a list may be."""
    words = value if isinstance(value, list) else [] if value is None else [value]
    yield from ((kind if isinstance(word, str) else "unread", word) for word in words)


def _texts(value: object) -> Iterator[str]:
    """Yield every text in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        for part in parts:
            yield from _texts(part)


def _strings(data: Mapping[str, Any]) -> dict[str, str]:
    return {name_key(name): value for name, value in data.items() if isinstance(value, str)}


def _image_key(data: Mapping[str, Any]) -> str:
    """Return which field of a task names its image; empty if none does."""
    keys = _strings(data)
    return next((name for name in IMAGE_NAMES if keys.get(name)), "")

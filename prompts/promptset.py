r"""A prompt set: categories, the sentences that describe them, and what they are held against.

In full, as TOML (YAML and JSON have the same keys)::

    name = "moderation"
    levels = ["none", "minor", "major"]
    templates = ["{}", "a photo of {}"]

    [category.substances]
    prompts = ["a cigarette", "a glass of beer", "pills"]
    against = ["a person", "a street", "food on a table"]
    pool = "max"

    [overall]
    inappropriate = "major >= 1 or minor >= 4"
    otherwise = "appropriate"

In short, a plain dictionary of category → sentences, or one sentence.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from clipcal.errors import PromptError
from clipcal.prompts import syntax
from clipcal.prompts.rules import parse_rule
from clipcal.prompts.syntax import Document, Format

Pool = Literal["max", "mean"]

BINARY_LEVELS = ("negative", "positive")
"""What rules count in a set without levels."""
OTHERWISE = "otherwise"
"""The key of the verdict where no rule holds."""

_FORMATS: dict[str, Format] = {".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".json": "json"}
_KEYS = ("name", "levels", "templates", "category", "overall")
_CATEGORY_KEYS = ("prompts", "against", "pool")
_LEVEL = re.compile(r"[^\W\d][\w-]*")
_YAML_TRAP = (
    "; YAML reads a bare no, yes, on or off as false or true, and bare numbers and dates as such: "
    "write it in quotes"
)


@dataclass(frozen=True, slots=True)
class Category:
    """What is looked for, in sentences.

    Attributes
    ----------
    name : str
        As the label file and the tables call it.
    prompts : tuple of str
        Sentences that describe it.
    against : tuple of str
        Neutral sentences that the score is held against; empty for plain cosines.
    pool : {"max", "mean"}
        How the similarities with several sentences become one number.
    """

    name: str
    prompts: tuple[str, ...]
    against: tuple[str, ...] = ()
    pool: Pool = "max"


@dataclass(frozen=True, slots=True)
class PromptSet:
    """Categories with their sentences, named and hashed.

    Attributes
    ----------
    name : str
        What people call it.
    levels : tuple of str
        Degrees from the least to the greatest; empty where a category only holds or not.
    templates : tuple of str
        Texts with one ``{}`` into which every sentence is put; its vectors are averaged.
    categories : tuple of Category
        In the order of the score's columns.
    overall : mapping of str to str
        Verdict → rule over the number of categories at a level, the first that holds counts;
        ``otherwise`` → the verdict where none does. Empty where nothing is composed.
    """

    name: str
    levels: tuple[str, ...]
    templates: tuple[str, ...]
    categories: tuple[Category, ...]
    overall: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def sha256(self) -> str:
        """Hash of what decides scores: templates, and categories in their order."""
        deciding = {
            "templates": self.templates,
            "categories": [(c.name, c.prompts, c.against, c.pool) for c in self.categories],
        }
        canonical = json.dumps(deciding, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def sentences(self) -> tuple[str, ...]:
        """Every sentence as the text encoder sees it, once, in order of appearance."""
        plain = (s for c in self.categories for s in (*c.prompts, *c.against))
        return tuple(dict.fromkeys(text for s in plain for text in self.expand(s)))

    def expand(self, sentence: str) -> tuple[str, ...]:
        """Put `sentence` into every template."""
        return tuple(template.replace("{}", sentence) for template in self.templates)

    def to_toml(self) -> str:
        """Write the set as TOML from which :func:`parse_prompt_set` reads an equal one."""
        lines = [f"name = {_quoted(self.name)}"]
        if self.levels:
            lines.append(f"levels = {_array(self.levels)}")
        lines.append(f"templates = {_array(self.templates)}")
        for category in self.categories:
            lines += ["", f"[category.{_quoted(category.name)}]"]
            lines.append(f"prompts = {_array(category.prompts)}")
            if category.against:
                lines.append(f"against = {_array(category.against)}")
            lines.append(f"pool = {_quoted(category.pool)}")
        if self.overall:
            lines += ["", "[overall]"]
            lines += [f"{_quoted(key)} = {_quoted(rule)}" for key, rule in self.overall.items()]
        return "\n".join(lines) + "\n"


def packaged_sets() -> tuple[str, ...]:
    """Name the prompt sets that come with clipcal."""
    files = resources.files(__package__).joinpath("sets").iterdir()
    return tuple(sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml")))


def load_prompt_set(name_or_path: str | Path) -> PromptSet:
    """Load a packaged prompt set by name, or one from a file.

    Parameters
    ----------
    name_or_path : str or pathlib.Path
        ``moderation``, ``demo``, or a file in TOML (.toml), YAML (.yaml, .yml) or JSON (.json).

    Returns
    -------
    PromptSet
        The set, validated.

    Raises
    ------
    PromptError
        If there is no such set, or it is wrong; the message names file and line.
    """
    if isinstance(name_or_path, str) and name_or_path in packaged_sets():
        file = resources.files(__package__).joinpath("sets", f"{name_or_path}.toml")
        source = f"{name_or_path}.toml"
        return parse_prompt_set(file.read_text("utf-8"), source=source, format="toml")
    path = Path(name_or_path)
    return parse_prompt_set(_read(path), source=str(path), format=_format_of(path))


def parse_prompt_set(text: str, *, source: str, format: Format) -> PromptSet:
    """Read a prompt set and check everything in it.

    Parameters
    ----------
    text : str
        The file's content.
    source : str
        The file's name or path: for messages, and as the set's name where it has none.
    format : {"toml", "yaml", "json"}
        How it is written.

    Returns
    -------
    PromptSet
        The set.

    Raises
    ------
    PromptError
        If the text is no prompt set; the message begins with ``source:line:``.
    """
    document = syntax.read(text, source=source, format=format)
    if not isinstance(document.data, dict) or not document.data:
        raise document.fault(
            (),
            "holds no categories. Write at least one, in TOML for example: "
            'blood = ["a pool of blood", "a bloody wound"]',
        )
    if any(key in document.data for key in _KEYS):
        return _full(document, document.data)
    categories = _categories(document, (), document.data)
    return PromptSet(Path(source).stem, (), ("{}",), categories)


def fold(sentence: str) -> str:
    """Reduce a sentence to what CLIP's tokenizer tells apart: it lowers case and joins blanks."""
    return " ".join(sentence.casefold().split())


# --- files -----------------------------------------------------------------------------------


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise PromptError(
            f"There is no prompt set {str(path)!r}: no such file, and the packaged sets are "
            f"{', '.join(packaged_sets())}. See: clipcal prompts list"
        ) from None
    except UnicodeDecodeError as error:
        raise PromptError(f"{path} is not UTF-8 text ({error.reason}). Save it as UTF-8.") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise PromptError(f"The prompt set {path} cannot be read: {error}") from error


def _format_of(path: Path) -> Format:
    if path.suffix.lower() not in _FORMATS:
        raise PromptError(
            f"{path} has none of the endings {', '.join(_FORMATS)}, which say how a prompt set "
            "is written. Rename it."
        )
    return _FORMATS[path.suffix.lower()]


# --- checks ----------------------------------------------------------------------------------


def _full(document: Document, data: dict[Any, Any]) -> PromptSet:
    """Read the full form."""
    _refuse_unknown(document, (), data, _KEYS, "")
    categories = data.get("category")
    if not isinstance(categories, dict) or not categories:
        first = next(key for key in _KEYS if key in data)
        raise document.fault(
            (first,),
            f"`{first}` belongs to the full form, in which every category stands below "
            f"`category` ([category.NAME] in TOML); got {reprlib.repr(categories)} there",
        )
    levels = _levels(document, data)
    overall = _overall(document, data.get("overall"), levels or BINARY_LEVELS)
    return PromptSet(
        name=_name(document, data),
        levels=levels,
        templates=_templates(document, data),
        categories=_categories(document, ("category",), categories, overall=bool(overall)),
        overall=overall,
    )


def _name(document: Document, data: dict[Any, Any]) -> str:
    name = data.get("name", Path(document.source).stem)
    if not isinstance(name, str) or not _is_plain(name):
        raise document.fault(("name",), f"`name` must be a name, got {name!r}")
    return name


def _levels(document: Document, data: dict[Any, Any]) -> tuple[str, ...]:
    if "levels" not in data:
        return ()
    levels = _texts(document, ("levels",), data["levels"], "`levels`", "names")
    if len(levels) < 2:
        raise document.fault(
            ("levels",),
            f"`levels` must name at least two degrees, the least first, got {list(levels)}",
        )
    for index, level in enumerate(levels):
        if not _LEVEL.fullmatch(level) or level in ("and", "or"):
            raise document.fault(("levels", index), f"the level {level!r} must be one word")
    return levels


def _templates(document: Document, data: dict[Any, Any]) -> tuple[str, ...]:
    templates = _texts(document, ("templates",), data.get("templates", "{}"), "`templates`")
    for index, template in enumerate(templates):
        if template.count("{}") != 1:
            raise document.fault(
                ("templates", index),
                f"the template {template!r} must hold {{}} exactly once, where the sentence goes",
            )
    return templates


def _categories(
    document: Document, path: syntax.Path, data: dict[Any, Any], *, overall: bool = False
) -> tuple[Category, ...]:
    found: dict[str, str] = {}
    for name in data:
        _check_category_name(document, (*path, name), name, overall=overall)
        twin = found.setdefault(name.casefold(), name)
        if twin != name:
            message = f"the categories {twin!r} and {name!r} differ in case only"
            raise document.fault((*path, name), message)
    return tuple(_category(document, (*path, name), name, body) for name, body in data.items())


def _check_category_name(
    document: Document, path: syntax.Path, name: object, *, overall: bool
) -> None:
    if not isinstance(name, str):
        raise document.fault(
            path, f"a category's name must be text, got {name!r}{_trap(document, name)}"
        )
    if not _is_plain(name):
        raise document.fault(path, f"{name!r} is no name for a category: blank around or within")
    folded = name.casefold()
    if folded == "image" or folded.endswith("_score") or (overall and folded == "overall"):
        raise document.fault(
            path,
            f"no category can be called {name!r}: tables of decisions have a column of that name",
        )


def _category(document: Document, path: syntax.Path, name: str, body: object) -> Category:
    where = f"category {name!r}: "
    if not isinstance(body, dict):
        return Category(name, _texts(document, path, body, f"category {name!r}"))
    _refuse_unknown(document, path, body, _CATEGORY_KEYS, where)
    if "prompts" not in body:
        raise document.fault(path, f"{where}lacks `prompts`, the sentences that describe it")
    prompts = _texts(document, (*path, "prompts"), body["prompts"], f"{where}`prompts`")
    against: tuple[str, ...] = ()
    if body.get("against", []) != []:
        against = _texts(document, (*path, "against"), body["against"], f"{where}`against`")
    _refuse_shared(document, path, prompts, against, where)
    return Category(name, prompts, against, _pool(document, path, body, where))


def _pool(document: Document, path: syntax.Path, body: dict[Any, Any], where: str) -> Pool:
    pool: Pool = body.get("pool", "max")
    if pool not in get_args(Pool):
        raise document.fault(
            (*path, "pool"), f'{where}`pool` must be "max" or "mean", got {pool!r}'
        )
    return pool


def _overall(document: Document, value: object, levels: Sequence[str]) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or OTHERWISE not in value:
        raise document.fault(
            ("overall",),
            f"`overall` must hold verdict = rule, and `{OTHERWISE}` = the verdict where no rule "
            f"holds; got {reprlib.repr(value)}",
        )
    for verdict, rule in value.items():
        if not (isinstance(verdict, str) and isinstance(rule, str) and rule.strip()):
            message = f"{verdict!r} = {rule!r} must be text{_trap(document, verdict)}"
            raise document.fault(("overall", verdict), message)
        if verdict != OTHERWISE:
            _check_rule(document, verdict, rule, levels)
    return dict(value)


def _check_rule(document: Document, verdict: str, rule: str, levels: Sequence[str]) -> None:
    try:
        parse_rule(rule, levels)
    except ValueError as error:
        raise document.fault(("overall", verdict), f"the rule for {verdict!r}: {error}") from None


def _texts(
    document: Document, path: syntax.Path, value: object, label: str, noun: str = "sentences"
) -> tuple[str, ...]:
    """Check a list of texts, or one, for emptiness and duplicates; blanks around are dropped."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not items:
        raise document.fault(
            path,
            f"{label} must be a non-empty list of {noun}, got {reprlib.repr(value)}"
            f"{_trap(document, value)}",
        )
    seen: dict[str, int] = {}
    for index, item in enumerate(items):
        at = (*path, index)
        if not isinstance(item, str) or not item.strip() or not _is_unicode(item):
            message = f"{label} must hold {noun}, got {item!r}{_trap(document, item)}"
            raise document.fault(at, message)
        if fold(item) in seen:
            raise document.fault(at, f"{label} holds {item!r} twice")
        seen[fold(item)] = index
    return tuple(item.strip() for item in items)


def _refuse_shared(
    document: Document,
    path: syntax.Path,
    prompts: Sequence[str],
    against: Sequence[str],
    where: str,
) -> None:
    taken = {fold(sentence) for sentence in prompts}
    for index, sentence in enumerate(against):
        if fold(sentence) in taken:
            raise document.fault(
                (*path, "against", index),
                f"{where}{sentence!r} is among `prompts` and `against`; it would be held against "
                "itself",
            )


def _refuse_unknown(
    document: Document,
    path: syntax.Path,
    table: Iterable[Any],
    known: Sequence[str],
    where: str,
) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else f"; known are {', '.join(known)}"
            raise document.fault((*path, key), f"{where}unknown key `{key}`{hint}")


def _is_plain(name: str) -> bool:
    return bool(name) and name == name.strip() and name.isprintable()


def _is_unicode(text: str) -> bool:
    """Tell whether `text` is free of lone surrogates, which JSON can smuggle in."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _trap(document: Document, value: object) -> str:
    bare = not isinstance(value, str | list | dict)
    return _YAML_TRAP if bare and document.format == "yaml" else ""


# --- writing ---------------------------------------------------------------------------------


def _array(texts: Sequence[str]) -> str:
    inner = ", ".join(map(_quoted, texts))
    if len(inner) < 80:
        return f"[{inner}]"
    return "[\n" + "".join(f"    {_quoted(text)},\n" for text in texts) + "]"


def _quoted(text: str) -> str:
    # JSON's escapes are TOML's, but for DEL, which TOML wants escaped too.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

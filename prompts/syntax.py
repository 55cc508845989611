"""TOML, YAML or JSON text to plain data, and the line on which each value stands.

The parsers at hand give data or lines, not both: tomllib has lines for syntax errors only. A
person who reads "my.toml:12" finds the fault; one who reads "gore.prompts" searches for it.
"""

from __future__ import annotations

import contextlib
import json
import re
import tomllib
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import yaml

from clipcal.errors import PromptError

Format = Literal["toml", "yaml", "json"]
Path = tuple[Hashable, ...]
"""Keys and indices from the root to a value: ``("category", "gore", "prompts", 0)``."""
Lines = dict[Path, int]

# Nothing in a prompt set lies deeper; aliases in YAML could make a walk without end.
_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file.

    Attributes
    ----------
    source : str
        What the person calls the file.
    format : {"toml", "yaml", "json"}
        How it is written.
    data : object
        Dictionaries, lists and scalars.
    lines : mapping of path to int
        The line of each value that could be located, from 1.
    """

    source: str
    format: Format
    data: object
    lines: Mapping[Path, int]

    def fault(self, path: Path, message: str) -> PromptError:
        """Make the error that names the line of `path`, or of the nearest value around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return _fault(self.source, self.lines.get(path), message)


def read(text: str, *, source: str, format: Format) -> Document:
    """Parse `text`.

    Parameters
    ----------
    text : str
        The file's content.
    source : str
        What messages call the file.
    format : {"toml", "yaml", "json"}
        How it is written.

    Returns
    -------
    Document
        Data and lines.

    Raises
    ------
    PromptError
        If the text does not parse, or gives one key twice.
    """
    readers: dict[Format, Callable[[str, str], tuple[object, Lines]]] = {
        "toml": _read_toml,
        "yaml": _read_yaml,
        "json": _read_json,
    }
    try:
        data, lines = readers[format](text, source)
    except RecursionError:
        raise _fault(source, None, "is nested too deeply to be a prompt set") from None
    return Document(source, format, data, lines)


def _fault(source: str, line: int | None, message: str) -> PromptError:
    place = f"{source}:{line}" if line else source
    return PromptError(f"{place}: {message}")


# --- YAML and JSON ---------------------------------------------------------------------------


def _read_yaml(text: str, source: str) -> tuple[object, Lines]:
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        lines = {} if root is None else _node_lines(root, source)
        return (None if root is None else loader.construct_document(root)), lines
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2024-99-99
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        line = None if mark is None else mark.line + 1
        raise _fault(source, line, f"is not valid YAML: {problem}") from error


def _read_json(text: str, source: str) -> tuple[object, Lines]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise _fault(source, error.lineno, f"is not valid JSON: {error.msg}") from error
    lines: Lines = {}
    # JSON is YAML but for tabs and odd escapes; where it is not, messages go without a line.
    with contextlib.suppress(yaml.YAMLError):
        root = yaml.compose(text.replace("\t", " "), yaml.SafeLoader)
        lines = {} if root is None else _node_lines(root, source)
    return data, lines


def _node_lines(root: yaml.Node, source: str) -> Lines:
    lines: Lines = {}
    _walk(root, (), lines, source)
    return lines


def _walk(node: yaml.Node, path: Path, lines: Lines, source: str) -> None:
    if len(path) == _DEPTH:
        return
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[*path, index] = item.start_mark.line + 1
            _walk(item, (*path, index), lines, source)
    elif isinstance(node, yaml.MappingNode):
        for key_node, value in node.value:
            _walk_pair(key_node, value, path, lines, source)


def _walk_pair(
    key_node: yaml.Node, value: yaml.Node, path: Path, lines: Lines, source: str
) -> None:
    key = yaml.constructor.SafeConstructor().construct_object(key_node, deep=True)
    line = key_node.start_mark.line + 1
    if not isinstance(key, Hashable):
        return  # refused with its line when the data is built
    if (*path, key) in lines:
        earlier = lines[*path, key]
        raise _fault(source, line, f"`{key}` is given a second time; it stands on line {earlier}")
    lines[*path, key] = line
    _walk(value, (*path, key), lines, source)


# --- TOML ------------------------------------------------------------------------------------


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


_TOKEN = re.compile(
    r'''
    (?P<skip> [ \t\r]+ | \#[^\n]* )
  | (?P<newline> \n )
  | (?P<string> """(?:[^\\]|\\.)*?"{3,5} | \'\'\'.*?\'{3,5} | "(?:[^"\\]|\\.)*" | '[^']*' )
  | (?P<mark> [\[\]{},=.] )
  | (?P<bare> [^\s\[\]{},=.\#"']+ )
    ''',
    re.VERBOSE | re.DOTALL,
)


def _read_toml(text: str, source: str) -> tuple[object, Lines]:
    text = text.replace("\r\n", "\n")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at line (\d+), column \d+\)", str(error))
        problem, line = (found[1], int(found[2])) if found else (str(error), None)
        raise _fault(source, line, f"is not valid TOML: {problem}") from error
    return data, _toml_lines(_tokens(text))


def _tokens(text: str) -> deque[_Token]:
    """Cut valid TOML into tokens, without blanks and comments."""
    tokens, line = deque[_Token](), 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup and match.lastgroup != "skip":
            tokens.append(_Token(match.lastgroup, match[0], line))
        line += match[0].count("\n")
    return tokens


def _toml_lines(tokens: deque[_Token]) -> Lines:
    lines: Lines = {}
    table: Path = ()
    while tokens:
        if tokens[0].kind == "newline":
            tokens.popleft()
        elif tokens[0].text == "[":
            line = tokens[0].line
            _skip(tokens, "[")
            table = _key(tokens)
            _skip(tokens, "]")
            _locate(lines, (), table, line)
        else:
            _pair(tokens, table, lines)
    return lines


def _skip(tokens: deque[_Token], *texts: str) -> None:
    while tokens and tokens[0].text in texts:
        tokens.popleft()


def _key(tokens: deque[_Token]) -> Path:
    parts = [_unquoted(tokens.popleft())]
    while tokens[0].text == ".":
        tokens.popleft()
        parts.append(_unquoted(tokens.popleft()))
    return tuple(parts)


def _unquoted(token: _Token) -> str:
    if token.kind != "string":
        return token.text
    return str(tomllib.loads(f"key = {token.text}")["key"])


def _pair(tokens: deque[_Token], table: Path, lines: Lines) -> None:
    line = tokens[0].line
    key = _key(tokens)
    _locate(lines, table, key, line)
    _skip(tokens, "=")
    _value(tokens, (*table, *key), lines)


def _locate(lines: Lines, table: Path, key: Path, line: int) -> None:
    """Note the line of a dotted key, and of the tables that it opens."""
    for length in range(1, len(key) + 1):
        lines.setdefault((*table, *key[:length]), line)


def _value(tokens: deque[_Token], path: Path, lines: Lines) -> None:
    first = tokens.popleft()
    if first.text == "[":
        _array(tokens, path, lines)
    elif first.text == "{":
        _skip(tokens, ",", "\n")
        while tokens[0].text != "}":
            _pair(tokens, path, lines)
            _skip(tokens, ",", "\n")
        tokens.popleft()
    else:  # a scalar, perhaps of several tokens, such as 3.14
        while tokens and tokens[0].text not in ("\n", ",", "]", "}"):
            tokens.popleft()


def _array(tokens: deque[_Token], path: Path, lines: Lines) -> None:
    index = 0
    _skip(tokens, ",", "\n")
    while tokens[0].text != "]":
        lines[*path, index] = tokens[0].line
        _value(tokens, (*path, index), lines)
        _skip(tokens, ",", "\n")
        index += 1
    tokens.popleft()

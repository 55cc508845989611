"""A prompt set says the same in every notation, and every fault is named with its line."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from clipcal.errors import PromptError
from clipcal.prompts import syntax
from clipcal.prompts.promptset import (
    Category,
    PromptSet,
    load_prompt_set,
    packaged_sets,
    parse_prompt_set,
)
from clipcal.prompts.rules import Condition, parse_rule

FULL = """\
name = "moderation"
levels = ["none", "minor", "major"]
templates = ["{}", "a photo of {}"]

[category.substances]
prompts = ["a cigarette", "a glass of beer"]
against = ["a street"]
pool = "mean"

[category."Sexual Content"]
prompts = ["a couple kissing"]

[overall]
inappropriate = "major >= 1 or minor >= 4"
otherwise = "appropriate"
"""
EXPECTED = PromptSet(
    name="moderation",
    levels=("none", "minor", "major"),
    templates=("{}", "a photo of {}"),
    categories=(
        Category("substances", ("a cigarette", "a glass of beer"), ("a street",), "mean"),
        Category("Sexual Content", ("a couple kissing",)),
    ),
    overall={"inappropriate": "major >= 1 or minor >= 4", "otherwise": "appropriate"},
)


def parse(text: str, format: syntax.Format = "toml") -> PromptSet:
    return parse_prompt_set(text, source=f"my.{format}", format=format)


def refusal(text: str, format: syntax.Format = "toml") -> str:
    with pytest.raises(PromptError) as caught:
        parse(text, format)
    return str(caught.value)


# --- what is read ----------------------------------------------------------------------------


def test_the_full_form_is_read_from_toml() -> None:
    assert parse(FULL) == EXPECTED


@pytest.mark.parametrize("format", ["yaml", "json"])
def test_the_full_form_is_the_same_in_every_notation(format: syntax.Format) -> None:
    data = tomllib.loads(FULL)
    text = (
        json.dumps(data, indent="\t") if format == "json" else yaml.safe_dump(data, sort_keys=False)
    )
    assert parse(text, format) == EXPECTED


@pytest.mark.parametrize(
    ("text", "format"),
    [
        ('blood = ["a wound", "a pool of blood"]\n"a knife" = "a sharp knife"\n', "toml"),
        ("blood:\n  - a wound\n  - a pool of blood\na knife: a sharp knife\n", "yaml"),
        ('{"blood": ["a wound", "a pool of blood"], "a knife": "a sharp knife"}', "json"),
    ],
)
def test_a_plain_dictionary_of_sentences_is_a_prompt_set(text: str, format: syntax.Format) -> None:
    assert parse(text, format) == PromptSet(
        "my",
        (),
        ("{}",),
        (
            Category("blood", ("a wound", "a pool of blood")),
            Category("a knife", ("a sharp knife",)),
        ),
    )


def test_sentences_are_expanded_by_every_template_and_named_once() -> None:
    prompt_set = parse(
        'templates = ["{}", "a {} here"]\n'
        '[category.a]\nprompts = ["x", "y"]\nagainst = ["z"]\n[category.b]\nprompts = ["z"]\n'
    )
    assert prompt_set.sentences == ("x", "a x here", "y", "a y here", "z", "a z here")


@pytest.mark.parametrize("name", packaged_sets())
def test_packaged_sets_are_valid_and_named_as_their_files(name: str) -> None:
    assert load_prompt_set(name).name == name


def test_moderation_has_the_study_s_dimensions_each_with_its_own_contrast() -> None:
    moderation = load_prompt_set("moderation")
    assert [c.name for c in moderation.categories] == [
        *("Attire", "Sexual Content", "Gestures", "Substances", "Violence", "Gore")
    ]
    assert moderation.levels == ("none", "minor", "major")
    for category in moderation.categories:
        assert 6 <= len(category.prompts) <= 10
        assert 4 <= len(category.against) <= 8
    assert list(moderation.overall) == ["inappropriate", "questionable", "otherwise"]


@pytest.mark.parametrize("suffix", [".toml", ".TOML"])
def test_a_file_is_loaded_by_its_ending_with_or_without_a_byte_order_mark(
    tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"set{suffix}"
    file.write_bytes(b"\xef\xbb\xbf" + FULL.encode())
    assert load_prompt_set(file) == EXPECTED
    assert load_prompt_set(str(file)) == EXPECTED


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("absent.toml", None, "packaged sets are .*moderation"),
        ("moderatoin", None, "clipcal prompts list"),
        ("set.txt", b"a = 'b'", "has none of the endings .toml"),
        ("set.toml", b"a = '\xff'", "not UTF-8"),
        ("null\0.toml", None, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_refused(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(PromptError, match=reason):
        load_prompt_set(tmp_path / name)


def test_a_folder_is_not_a_prompt_set(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="cannot be read"):
        load_prompt_set(tmp_path)


# --- what is written -------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda text: text == text.strip()
)
NAMES = TEXT.filter(lambda t: t.isprintable() and not t.casefold().endswith("_score")).filter(
    lambda t: t.casefold() not in ("image", "overall")
)


def distinct(texts: st.SearchStrategy[str], most: int = 4) -> st.SearchStrategy[list[str]]:
    def fold(text: str) -> str:
        return " ".join(text.casefold().split())

    return st.lists(texts, min_size=1, max_size=most, unique_by=fold)


@st.composite
def prompt_sets(draw: st.DrawFn) -> PromptSet:
    categories = []
    for name in draw(distinct(NAMES)):
        sentences = tuple(draw(distinct(TEXT, 6)))
        cut = draw(st.integers(1, len(sentences)))
        pool: Any = draw(st.sampled_from(["max", "mean"]))
        categories.append(Category(name, sentences[:cut], sentences[cut:], pool))
    levels = draw(st.sampled_from([(), ("none", "some"), ("no", "minor", "major")]))
    rules = {"bad": f"{levels[-1]} >= 1", "otherwise": "good"} if levels else {}
    return PromptSet(draw(NAMES), levels, ("{}", "a {}"), tuple(categories), rules)


@given(prompt_sets())
@settings(deadline=None)
def test_reading_what_was_written_gives_an_equal_set(prompt_set: PromptSet) -> None:
    assert parse(prompt_set.to_toml()) == prompt_set


@given(prompt_sets())
@settings(deadline=None, max_examples=50)
def test_every_sentence_of_a_toml_file_is_located_on_its_line(prompt_set: PromptSet) -> None:
    text = prompt_set.to_toml()
    lines = syntax.read(text, source="my.toml", format="toml").lines
    rows = text.split("\n")
    for category in prompt_set.categories:
        for index, sentence in enumerate(category.prompts):
            line = lines["category", category.name, "prompts", index]
            assert (
                json.dumps(sentence, ensure_ascii=False).replace("\x7f", "\\u007f")
                in rows[line - 1]
            )


# --- the hash --------------------------------------------------------------------------------


def test_the_hash_does_not_depend_on_what_does_not_decide_scores() -> None:
    reordered = """
        # a comment
        templates = [ "{}",
            "a photo of {}" ]
        [overall]
        otherwise = "fine"
        [category.substances]
        pool = "mean"
        against = ["a street"]
        prompts = ["a cigarette", 'a glass of beer']
        [category."Sexual Content"]
        prompts = "a couple kissing"
    """
    assert parse(reordered).sha256 == EXPECTED.sha256


def test_the_hash_changes_with_everything_that_decides_scores() -> None:
    first, second = EXPECTED.categories
    changed = [
        replace(EXPECTED, templates=("{}", "a picture of {}")),
        replace(EXPECTED, templates=("{}",)),
        replace(EXPECTED, categories=(second, first)),
        replace(EXPECTED, categories=(first,)),
        replace(EXPECTED, categories=(replace(first, name="other"), second)),
        replace(EXPECTED, categories=(replace(first, pool="max"), second)),
        replace(EXPECTED, categories=(replace(first, against=()), second)),
        replace(EXPECTED, categories=(replace(first, prompts=("a cigar",)), second)),
        replace(
            EXPECTED,
            categories=(
                replace(
                    first, prompts=first.prompts[:1], against=first.prompts[1:] + first.against
                ),
                second,
            ),
        ),
    ]
    assert len({EXPECTED.sha256, *(s.sha256 for s in changed)}) == len(changed) + 1


# --- what is refused -------------------------------------------------------------------------

FAULTS = [
    # (replace this line of FULL, by that, message begins, message holds)
    ('prompts = ["a couple kissing"]', "prompts = 3", 11, "got 3"),
    ('prompts = ["a couple kissing"]', "prompts = []", 11, "non-empty list of sentences"),
    ('prompts = ["a couple kissing"]', "", 10, "lacks `prompts`"),
    ('prompts = ["a couple kissing"]', 'prompt = ["x"]', 11, "did you mean `prompts`?"),
    ('prompts = ["a couple kissing"]', 'prompts = ["x",\n\n\n  " "]', 14, "got ' '"),
    ('prompts = ["a couple kissing"]', 'prompts = ["x",\n"y", 3.25, "z"]', 12, "got 3.25"),
    ('prompts = ["a couple kissing"]', 'prompts = ["x", # one\n"X "]', 12, "'X ' twice"),
    ('prompts = ["a couple kissing"]', 'prompts = ["x"]\nagainst=[\n"a",\n"x"]', 14, "itself"),
    ('prompts = ["a couple kissing"]', 'prompts = ["x"]\nagainst = 1', 12, "`against` must be"),
    ('prompts = ["a couple kissing"]', 'prompts = """\n]#x"""\npool = 1', 13, "`pool` must"),
    ('pool = "mean"', 'pool = "sum"', 8, '"max" or "mean", got \'sum\''),
    ('pool = "mean"', "pool = [", 10, "not valid TOML"),
    ("[category.substances]", "[category.substances", 5, "not valid TOML"),
    ("[category.substances]", "[category.Image]", 5, "'Image'"),
    ("[category.substances]", "[category.gore_score]", 5, "decisions have a column"),
    ("[category.substances]", "[category.Overall]", 5, "decisions have a column"),
    ("[category.substances]", "[category.'sexual content']", 10, "differ in case only"),
    ("[category.substances]", '[category.""]', 5, "no name for a category"),
    ("[category.substances]", "[Category.substances]", 5, "did you mean `category`?"),
    ('levels = ["none", "minor", "major"]', 'levels = ["minor"]', 2, "at least two degrees"),
    ('levels = ["none", "minor", "major"]', "levels = 2", 2, "list of names, got 2"),
    ('levels = ["none", "minor", "major"]', 'levels = ["a", "a"]', 2, "'a' twice"),
    ('levels = ["none", "minor", "major"]', 'levels = ["no way", "b"]', 2, "one word"),
    ('levels = ["none", "minor", "major"]', 'levels = ["or", "b"]', 2, "one word"),
    ('levels = ["none", "minor", "major"]', 'levels = ["a", "b"]', 14, "'major' is not among"),
    ('levels = ["none", "minor", "major"]', "", 14, "not among the levels negative, positive"),
    ('"a photo of {}"', '"a photo"', 3, "exactly once"),
    ('"a photo of {}"', '"{} and {}"', 3, "exactly once"),
    ('name = "moderation"', "name = 1", 1, "`name` must be a name"),
    ('name = "moderation"', 'nmae = "x"', 1, "did you mean `name`?"),
    ('otherwise = "appropriate"', "", 13, "`otherwise`"),
    ('otherwise = "appropriate"', "otherwise = 1", 15, "must be text"),
    ("minor >= 4", "minor => 4", 14, "'minor => 4' is no condition"),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), FAULTS)
def test_a_fault_in_toml_is_named_with_its_line(
    old: str, new: str, line: int, message: str
) -> None:
    assert FULL.count(old) == 1
    refused = refusal(FULL.replace(old, new))
    assert refused.startswith(f"my.toml:{line}: ")
    assert message in refused


def test_a_message_says_category_key_and_what_was_found() -> None:
    refused = refusal('[category.gore]\npool = "max"\nprompts = 3\n')
    expected = "my.toml:3: category 'gore': `prompts` must be a non-empty list of sentences, got 3"
    assert refused == expected


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("gore:\n  - a wound\n  - 3\n", 3, "got 3"),
        ("gore: a wound\nno: [a, b]\n", 2, "got False; YAML reads a bare no"),
        ("levels: [no, minor, major]\ncategory:\n  a: b\n", 1, "write it in quotes"),
        ("a: b\na: c\n", 2, "second time; it stands on line 1"),
        ("category:\n  gore:\n    prompts: [a]\n    against: [b,\n      A]\n", 5, "itself"),
        ("category:\n  gore:\n    prompts:\n", 3, "got None"),
        ("a: [b\n", 2, "not valid YAML"),
        ("? [a, b]\n: c\n", 1, "unhashable"),
        ("? {a: b}\n: c\n", 1, "not valid YAML"),
        ("a: 2024-99-99\n", None, "not valid YAML"),
        ("- a\n- b\n", None, "holds no categories"),
        ("", None, "holds no categories"),
        ("a: \x07\n", None, "not valid YAML"),
    ],
)
def test_a_fault_in_yaml_is_named_with_its_line(text: str, line: int | None, message: str) -> None:
    refused = refusal(text, "yaml")
    assert refused.startswith("my.yaml: " if line is None else f"my.yaml:{line}: ")
    assert message in refused


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('{\n\t"gore": [\n\t\t"a",\n\t\t3\n\t]\n}', 4, "got 3"),
        ('{"a": "b",\n "a": "c"}', 2, "second time"),
        ('{"a": "b",\n}', 2, "not valid JSON"),
        ('{"a":\n "\\ud800"}', 1, "must hold sentences"),
        ("[1]", None, "holds no categories"),
        ("{}", None, "holds no categories"),
        ("null", None, "holds no categories"),
    ],
)
def test_a_fault_in_json_is_named_with_its_line(text: str, line: int | None, message: str) -> None:
    refused = refusal(text, "json")
    assert refused.startswith("my.json: " if line is None else f"my.json:{line}: ")
    assert message in refused


@pytest.mark.parametrize("format", ["toml", "yaml", "json"])
def test_nesting_without_end_is_refused(format: syntax.Format) -> None:
    body = "[" * 100_000 + "]" * 100_000
    text = {"toml": f"a = {body}", "yaml": f"a: {body[:20_000]}", "json": f'{{"a": {body}}}'}
    assert "nested too deeply" in refusal(text[format], format) or "valid" in refusal(
        text[format], format
    )


def test_aliases_in_yaml_share_sentences() -> None:
    text = """
        category:
          a: {prompts: [x], against: &plain [a street, a tree]}
          b: {prompts: [y], against: *plain}
    """
    assert parse(text, "yaml").categories[1].against == ("a street", "a tree")


@given(st.text(st.sampled_from("[]{}=.,:-#\"'\n \\ abc{}1&*"), max_size=60))
@settings(deadline=None, max_examples=300)
@pytest.mark.parametrize("format", ["toml", "yaml", "json"])
def test_any_text_gives_a_prompt_set_or_a_prompt_error(format: syntax.Format, text: str) -> None:
    try:
        parsed = parse(text, format)
    except PromptError:
        return
    assert parsed.categories


# --- rules -----------------------------------------------------------------------------------


def test_and_binds_closer_than_or() -> None:
    rule = parse_rule("major >= 1 or minor >= 2 and none < 4", ["none", "minor", "major"])
    assert rule == (
        (Condition("major", ">=", 1),),
        (Condition("minor", ">=", 2), Condition("none", "<", 4)),
    )


@pytest.mark.parametrize("operator", [">=", "<=", "==", ">", "<"])
def test_every_operator_is_read_with_and_without_blanks(operator: str) -> None:
    expected = ((Condition("a", operator, 3),),)
    assert parse_rule(f"a{operator}3", "a") == parse_rule(f" a {operator} 3 ", "a") == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "a >= ", "a >= -1", "a >= 1.5", "a >= 1 or", "or a >= 1", "a >= 1 b >= 2"),
        *("b >= 1", "a = 1", "a >= 1 xor a >= 2", "a >= 1and a >= 2", "(a > 1)", "import os"),
    ],
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="condition|levels"):
        parse_rule(text, ["a"])

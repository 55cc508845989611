"""Laws of tokens: the ids are those of the tokenizer with which the model was trained."""

from __future__ import annotations

import html
import json
import shutil
import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

pytest.importorskip("open_clip")
import ftfy
import open_clip
from ftfy.fixes import uncurl_quotes
from small_bundle import LENGTH, WORDS, word_tokenizer

from clipcal.errors import BundleError
from clipcal.export.tokenizer_file import build_tokenizer, check_ids
from clipcal.models.tokenizer import Tokenizer

SENTENCES = [
    "a photo of a cat",
    "A Photo of a CAT, wearing the dog's hat.",
    "I'm sure they'll say we've won; she'd don't you're it's",
    "don’t “quote” ‘me’ – or — else…",
    "  many   spaces\tand\nnew\r\nlines  ",
    "3 cats, 42 dogs & 1,000,000.50 fish = 100%",
    "half ½, square ², Roman Ⅷ, circled ①",
    "snake_case kebab-case CamelCase #tag @name",
    "https://example.org/a?b=c&d=e#f, mail@example.org",
    "naïve café Straße Øre Łódź Čeština ñandú",
    "e\u0301 composed and é precomposed",
    "Ελληνικά РУССКИЙ עברית العربية हिन्दी ไทย",
    "日本語の文章 中文句子 한국어 문장",
    "🔥🔫 👩‍👩‍👧 ✌🏽 🇫🇷",
    "fish &amp; chips &lt;tag&gt; &quot;x&quot; &#39;y&#39; &amp;lt; caf&eacute;",
    "ﬁve oﬃces, ｆｕｌｌ　ｗｉｄｔｈ １２３ ｱｲｳ ｶﾞ",
    "\x1b[31mred\x1b[0m bell\x07 nul\x00 bom\ufeff",
    "zero\u200bwidth no\u00a0break soft\u00adhyphen",
    "<start_of_text> and <END_OF_TEXT> and <|endoftext|>",
    "!?!? ... --- *** ((())) [[]] {{}} <<>> ~~ ^^ ``",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "a" * 500,
    "word " * 300,
    "",
    " ",
    "'",
    "'s",
    "x'S Y'LL",
]


@pytest.fixture(scope="module")
def reference() -> open_clip.SimpleTokenizer:
    return open_clip.SimpleTokenizer(context_length=77)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    file = tmp_path_factory.mktemp("clip") / "tokenizer.json"
    build_tokenizer({}, 77, None, "test").save(str(file), pretty=False)
    return Tokenizer.load(file, 77)


# --- CLIP's own -------------------------------------------------------------------------------


@pytest.mark.parametrize("sentence", SENTENCES)
def test_ids_are_open_clips(
    clip: Tokenizer, reference: open_clip.SimpleTokenizer, sentence: str
) -> None:
    ids = clip.encode([sentence])
    assert ids.dtype == np.int64
    np.testing.assert_array_equal(ids, reference([sentence]).numpy())


def test_a_batch_is_its_sentences(clip: Tokenizer, reference: open_clip.SimpleTokenizer) -> None:
    np.testing.assert_array_equal(clip.encode(SENTENCES), reference(SENTENCES).numpy())


# Letters, digits, punctuation, accents, Greek, Cyrillic and emoji, as people mix them.
words = st.text(
    st.sampled_from(
        string.ascii_letters
        + string.digits
        + string.punctuation.replace("&", "")
        + " \t\n'’“”éèüßñçøåłαβγωЖДл猫犬🔥🐈½²₂€£°—…"
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(sentence=words)
def test_ids_are_open_clips_for_any_mixture(sentence: str) -> None:
    # Text that looks wrongly decoded is repaired by ftfy; a tokenizer.json cannot say that.
    assume(ftfy.fix_encoding(sentence) == sentence)
    assume(ftfy.fix_encoding(uncurl_quotes(sentence)) == uncurl_quotes(sentence))
    expected = _REFERENCE([sentence]).numpy()
    np.testing.assert_array_equal(_CLIP.encode(sentence).ids, expected[0])


_REFERENCE = open_clip.SimpleTokenizer(context_length=20)
_CLIP = build_tokenizer({}, 20, None, "test")


@pytest.mark.parametrize("length", [8, 32, 77])
def test_long_sentences_lose_their_end_but_not_the_end_token(length: int) -> None:
    ids = build_tokenizer({}, length, None, "test").encode("a very long sentence " * 50).ids
    assert len(ids) == length
    assert ids == open_clip.SimpleTokenizer()(["a very long sentence " * 50], length)[0].tolist()


def test_common_entities_are_undone_as_html_does() -> None:
    for text in ("a &lt; b", "&quot;q&quot;", "&copy; &euro; &uuml;", "R&amp;amp;D"):
        plain = html.unescape(html.unescape(text))
        assert _CLIP.encode(text).ids == _CLIP.encode(plain).ids


def test_the_clip_tokenizer_fits_the_clip_vocabulary() -> None:
    check_ids(_CLIP, 49408, "test")
    with pytest.raises(BundleError, match="ids up to 49407, the text tower takes 1000"):
        check_ids(_CLIP, 1000, "test")


# --- tokenizers from a file -------------------------------------------------------------------

SIGLIP = {
    "hf_tokenizer_name": "timm/ViT-B-16-SigLIP",
    "tokenizer_kwargs": {"clean": "canonicalize"},
}


def ids_of(*words: str) -> list[int]:
    return [WORDS.index(word) for word in words]


def unpadded(folder: Path, config: dict[str, object] | None) -> Path:
    """Write a tokenizer as the hub keeps it: the padding is declared in a file beside it."""
    tokenizer = word_tokenizer()
    tokenizer.no_padding()
    tokenizer.no_truncation()
    file = folder / "tokenizer.json"
    tokenizer.save(str(file))
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return file


@pytest.mark.parametrize("token", ["<unk>", {"content": "<unk>", "lstrip": False}])
def test_padding_is_what_the_hub_declares(tmp_path: Path, token: object) -> None:
    file = unpadded(tmp_path, {"pad_token": token, "padding_side": "right"})
    tokenizer = build_tokenizer(SIGLIP, 5, file, "test")
    assert tokenizer.encode("a cat").ids == [
        WORDS.index(word) for word in ("a", "cat", *["<unk>"] * 3)
    ]


def test_padding_inside_the_file_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    word_tokenizer().save(str(file))
    assert build_tokenizer(SIGLIP, 4, file, "test").encode("dog").ids == [
        WORDS.index("dog"),
        0,
        0,
        0,
    ]


def test_padding_is_never_guessed(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"with which token it pads.*tokenizer_config\.json"):
        build_tokenizer(SIGLIP, 5, unpadded(tmp_path, None), "test")


@pytest.mark.parametrize("sentence", ["A  Photo_of: a (CAT)!", "dog's  «knife»", " a&amp;cat "])
def test_siglip_text_is_cleaned_as_open_clip_cleans_it(tmp_path: Path, sentence: str) -> None:
    from open_clip.tokenizer import basic_clean, canonicalize_text

    file = tmp_path / "tokenizer.json"
    word_tokenizer().save(str(file))
    tokenizer = build_tokenizer(SIGLIP, 6, file, "test")
    expected = canonicalize_text(basic_clean(sentence))
    assert tokenizer.normalizer.normalize_str(sentence) == expected


@pytest.mark.parametrize(
    "config",
    [
        {"hf_tokenizer_name": "x/y", "tokenizer_kwargs": {"strip_sep_token": True}},
        {"hf_tokenizer_name": "x/y", "tokenizer_mode": "clips"},
    ],
)
def test_what_a_file_cannot_express_is_refused(tmp_path: Path, config: dict[str, object]) -> None:
    file = tmp_path / "tokenizer.json"
    word_tokenizer().save(str(file))
    with pytest.raises(BundleError, match="cannot express"):
        build_tokenizer(config, 6, file, "test")


def test_a_tokenizer_out_of_reach_says_what_to_bring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    config = {"hf_tokenizer_name": "timm/No-Such-Model"}
    with pytest.raises(BundleError, match=r"127\.0\.0\.1.*No-Such-Model.*--tokenizer FILE") as info:
        build_tokenizer(config, 64, None, "a model")
    assert "\n" not in str(info.value)


# --- the run time -----------------------------------------------------------------------------


def test_a_bundle_and_its_file_load_alike(tmp_path: Path) -> None:
    word_tokenizer().save(str(tmp_path / "tokenizer.json"))
    from_folder = Tokenizer.load(tmp_path, LENGTH)
    from_file = Tokenizer.load(tmp_path / "tokenizer.json", LENGTH)
    np.testing.assert_array_equal(from_folder.encode(["a cat"]), from_file.encode(["a cat"]))


def test_no_sentences_give_no_rows(clip: Tokenizer) -> None:
    assert clip.encode([]).shape == (0, 77)


def test_a_length_that_is_not_the_models_is_refused(tmp_path: Path) -> None:
    word_tokenizer(9).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(BundleError, match="pads to 9 ids, the model takes 77"):
        Tokenizer.load(tmp_path, 77)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"model": 3}'])
def test_damage_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"cannot be read.*clipcal export") as info:
        Tokenizer.load(tmp_path, 77)
    assert "\n" not in str(info.value)


def test_absence_is_one_clear_line(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path)
    with pytest.raises(BundleError, match="no tokenizer"):
        Tokenizer.load(tmp_path / "tokenizer.json", 77)

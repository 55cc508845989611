"""The ``tokenizer.json`` of a bundle, with the ids of open_clip's tokenizer.

open_clip cleans text with ftfy and ``html.unescape`` before it splits it. What of that can be
said as replacements of characters is put into the file, so that one library reads the file the
same way everywhere: quotes, ligatures, full-width forms, control characters, the common HTML
entities, Unicode composition, whitespace and case. Repairing wrongly decoded text ("sÃ¼Ã") is
the one thing left out.
"""

from __future__ import annotations

import json
import string
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

from clipcal.errors import BundleError, ParityFailure
from clipcal.export.hub import fetch_file

_ENTITIES = {
    "lt": "<",
    "gt": ">",
    "quot": '"',
    "apos": "'",
    "#39": "'",
    "#x27": "'",
    "#34": '"',
    "nbsp": " ",
    "#160": " ",
    "lsquo": "'",
    "rsquo": "'",
    "#8217": "'",
    "ldquo": '"',
    "rdquo": '"',
    "ndash": "–",
    "mdash": "—",
    "hellip": "…",
    "eacute": "é",
    "egrave": "è",
    "agrave": "à",
    "ccedil": "ç",
    "ntilde": "ñ",
    "auml": "ä",
    "ouml": "ö",
    "uuml": "ü",
    "szlig": "ß",
    "deg": "°",
    "euro": "€",
    "pound": "£",
    "copy": "©",
    "reg": "®",
    "trade": "™",
}
_LIGATURES = "ĲĳŉǱǲǳǄǅǆǇǈǉǊǋǌﬀﬁﬂﬃﬄﬅﬆ"
_WIDE_AND_NARROW = range(0xFF01, 0xFFF0)
_TERMINAL_ESCAPES = r"\x1b\[[\d;]*[a-zA-Z]"
_CONTROL_CHARACTERS = r"[\x00-\x08\x0b\x0e-\x1f\x7f\x{206a}-\x{206f}\x{feff}\x{fff9}-\x{fffc}]"
# open_clip's pattern, on text that is in lower case already.
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_SAMPLES = (
    "",
    "a photo of a cat",
    "A PHOTO of the Cat's 12 kittens, don't they'll we've I'm she'd you're!",
    "naïve café – “quoted” ‘text’ … 100% ½ ³",
    "  tabs\tand\nnew   lines  ",
    "snake_case #hashtag @user https://example.org/?a=b&c=d",
    "рисунок кота, 猫の写真, صورة قطة, 고양이",
    "🔥🔫 emoji 👩‍👩‍👧 and ✌🏽",
    "fish &amp; chips &lt;b&gt; &quot;x&quot;",
    "ﬁve ｆｕｌｌ ｗｉｄｔｈ",
    "<start_of_text> inside <end_of_text>",
    "word " * 200,
)


def build_tokenizer(
    text_config: Mapping[str, Any], context_length: int, given: Path | None, name: str
) -> tokenizers.Tokenizer:
    """Make the tokenizer of a model, cleaning, padding and truncation included.

    Parameters
    ----------
    text_config : mapping
        ``text_cfg`` of the open_clip configuration.
    context_length : int
        Number of ids per sentence.
    given : pathlib.Path or None
        A ``tokenizer.json`` to use instead of what the configuration names.
    name : str
        The model, for messages.

    Returns
    -------
    tokenizers.Tokenizer
        The tokenizer; it gives the ids that open_clip gives.

    Raises
    ------
    BundleError
        If the tokenizer is on the hub and cannot be had, or does something that a
        ``tokenizer.json`` cannot express.
    ParityFailure
        If its ids differ from open_clip's.
    """
    options = dict(text_config.get("tokenizer_kwargs") or {})
    repository = text_config.get("hf_tokenizer_name")
    if given is None and not repository:
        return _from_open_clip(options, context_length)
    _refuse_unusual(text_config, options, name)
    file = given or _from_hub(str(repository), name)
    clean = options.get("clean", "whitespace" if repository else "lower")
    return _from_file(file, clean, context_length)


def check_ids(tokenizer: tokenizers.Tokenizer, vocabulary: int, name: str) -> None:
    """Make sure that a text tower has an embedding for every id.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        The tokenizer.
    vocabulary : int
        Rows of the tower's embedding table.
    name : str
        The model, for the message.

    Raises
    ------
    BundleError
        If the tokenizer knows more ids than the tower.
    """
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values())
    if highest >= vocabulary:
        raise BundleError(
            f"The tokenizer does not fit {name}: it has ids up to {highest}, the text tower "
            f"takes {vocabulary}. Give the model's own: --tokenizer FILE (a tokenizer.json)"
        )


# --- open_clip's own tokenizer ----------------------------------------------------------------


def _from_open_clip(options: dict[str, Any], context_length: int) -> tokenizers.Tokenizer:
    source = open_clip.SimpleTokenizer(context_length=context_length, **options)
    tokenizer = tokenizers.Tokenizer(
        models.BPE(
            vocab=source.encoder,
            merges=list(source.bpe_ranks),
            end_of_word_suffix="</w>",
            fuse_unk=False,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(_cleaning(options.get("clean", "lower")))
    words = pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True)
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, bytes_])
    tokenizer.decoder = decoders.ByteLevel()
    specials = [source.decoder[i] for i in source.all_special_ids]
    tokenizer.add_special_tokens([AddedToken(each, normalized=True) for each in specials])
    start, end = specials[:2]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        special_tokens=[(start, source.sot_token_id), (end, source.eot_token_id)],
    )
    tokenizer.enable_truncation(context_length)
    tokenizer.enable_padding(length=context_length, pad_id=0, pad_token="!")
    _compare(tokenizer, source)
    return tokenizer


def _compare(tokenizer: tokenizers.Tokenizer, source: open_clip.SimpleTokenizer) -> None:
    for sentence in _SAMPLES:
        if tokenizer.encode(sentence).ids != source([sentence])[0].tolist():
            raise ParityFailure(
                f"The tokenizer built for the bundle splits {sentence!r} otherwise than "
                f"open_clip {open_clip.__version__} does. Next: give one with --tokenizer FILE"
            )


# --- tokenizers of the hub --------------------------------------------------------------------


def _refuse_unusual(text_config: Mapping[str, Any], options: dict[str, Any], name: str) -> None:
    unusual = [key for key in ("strip_sep_token", "language") if options.get(key)]
    unusual += ["tokenizer_mode"] if text_config.get("tokenizer_mode") else []
    if unusual:
        raise BundleError(
            f"{name} changes ids after tokenizing ({', '.join(unusual)}), which a tokenizer.json "
            "cannot express. Choose another model: clipcal export ViT-B-32::openai"
        )


def _from_hub(repository: str, name: str) -> Path:
    remedy = (
        f"The tokenizer of {name} is needed: elsewhere download {{url}} and, into the same "
        "folder, tokenizer_config.json; then add --tokenizer FILE"
    )
    file = fetch_file(repository, ["tokenizer.json"], remedy)
    fetch_file(repository, ["tokenizer_config.json"], remedy)
    return file


def _from_file(file: Path, clean: str, context_length: int) -> tokenizers.Tokenizer:
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception for every kind of damage
        raise BundleError(
            f"{file} cannot be read as a tokenizer.json ({error}). Download it again."
        ) from error
    padding = tokenizer.padding or _declared_padding(tokenizer, file)
    steps = _cleaning(clean) + ([tokenizer.normalizer] if tokenizer.normalizer else [])
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.enable_truncation(context_length)
    tokenizer.enable_padding(
        length=context_length,
        direction=padding["direction"],
        pad_id=padding["pad_id"],
        pad_token=padding["pad_token"],
    )
    return tokenizer


def _declared_padding(tokenizer: tokenizers.Tokenizer, file: Path) -> dict[str, Any]:
    """Read what the hub keeps beside the tokenizer: with which token, on which side."""
    try:
        config = json.loads((file.parent / "tokenizer_config.json").read_text("utf-8"))
        token = config["pad_token"]
    except (OSError, ValueError, KeyError):
        raise BundleError(
            f"{file} does not say with which token it pads. Put the tokenizer_config.json of the "
            "same model beside it, then export again."
        ) from None
    token = token["content"] if isinstance(token, dict) else token
    return {
        "direction": config.get("padding_side", "right"),
        "pad_id": tokenizer.token_to_id(token),
        "pad_token": token,
    }


# --- cleaning ---------------------------------------------------------------------------------


def _cleaning(kind: str) -> list[normalizers.Normalizer]:
    """Say open_clip's cleaning functions as steps of a tokenizer."""
    blanks = [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    if kind == "whitespace":
        return _basic() + blanks
    if kind == "lower":
        return _basic() + blanks + [normalizers.Lowercase()]
    if kind == "canonicalize":
        without = Regex(f"[{_escaped(string.punctuation)}]")
        strip = [normalizers.Replace("_", " "), normalizers.Replace(without, "")]
        return _basic() + strip + [normalizers.Lowercase(), *blanks]
    raise BundleError(
        f"The model cleans its text by {kind!r}, which this version does not know. "
        "Next: pip install -U clipcal"
    )


def _basic() -> list[normalizers.Normalizer]:
    # An escaped ampersand may hide another entity, so it comes first.
    pairs: list[tuple[str | Regex, str]] = [(Regex("&(amp;)+"), "&")]
    pairs += [(f"&{key};", value) for key, value in _ENTITIES.items()]
    pairs += [(Regex(_TERMINAL_ESCAPES), "")]
    pairs += list(_characters().items())
    pairs += [(Regex("[ʼ‘-‛]"), "'"), (Regex("[“-‟]"), '"'), (Regex(_CONTROL_CHARACTERS), "")]
    replacements = [normalizers.Replace(old, new) for old, new in pairs]
    return [*replacements, normalizers.NFC()]


def _characters() -> dict[str, str]:
    """Map single characters as ftfy does: Windows-1252, ligatures, full and half width."""
    windows = {chr(i): bytes([i]).decode("cp1252", "ignore") for i in range(0x80, 0xA0)}
    single = [*_LIGATURES, *map(chr, _WIDE_AND_NARROW)]
    folded = {each: unicodedata.normalize("NFKC", each) for each in single}
    # The long s is a letter of its own that the ligature keeps.
    folded |= {"ﬅ": "ſt", "\u3000": " ", "ŉ": "'n"}
    return {old: new for old, new in (windows | folded).items() if new and new != old}


def _escaped(characters: str) -> str:
    return "".join(f"\\{each}" for each in characters)

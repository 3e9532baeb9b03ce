"""Words as tokens without a learned table, nothing to install or fetch.

A word's vector is the bits of a hash of it, as +1 and -1, so that any number of words needs no table. The keys and
values of cross-attention are learned with stage 2, and they make of these vectors what the captions taught.
"""

import difflib
import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

VOCABULARY = "vocabulary"
EDITION = 1  # rises when a text is given other tokens
WORD_WIDTH = 192  # bits of a word's hash
BLOCKS = 2  # of a token: the word, and the last one of its phrase, which it says something of
WIDTH = BLOCKS * WORD_WIDTH
WORD_BYTES = 100  # of the longest word that is known
NEAREST = 3  # known words that are offered for an unknown one
SKIPPED = frozenset(["a", "an", "the", "this", "that", "these", "those", "its", "it", "is", "are"])  # say nothing
JOINING = frozenset(
    ["and", "or", "with", "of", "in", "on", "at", "by", "to", "for", "from", "has", "have", "having", "plus"]
)  # end a phrase
TWO_LETTERS = ("ss", "us", "is")  # ends of words in the singular


class Vocabulary:
    """The words that captions taught; a `TextEncoder` of `width` 384 for texts of `length` words.

    A token is [word | last word of its phrase], so that "red seat with blue legs" says which is blue, and so does "blue
    straight legs". Articles are left out; punctuation and joining words end a phrase. Upper case, accents' encoding
    and plurals make no difference. Letters of every alphabet are letters.
    """

    name = VOCABULARY
    width = WIDTH

    def __init__(self, words: Iterable[str], *, length: int):
        """words: as `words_of` gives them. ValueError: there are none, or something else is among them."""
        self.words, self.length = tuple(sorted(set(words))), length
        wrong = [word for word in self.words if phrases_of(word) != [[word]]]
        if not self.words or wrong:
            raise ValueError(f"words: wanted single words, at least one; got {wrong[0][:60]!r}" if wrong else NO_WORDS)
        self.known = frozenset(self.words)
        self.checksum = hashlib.sha256("\n".join((f"{EDITION} {length}", *self.words)).encode()).hexdigest()

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Texts -> tokens [B, length, width] of -1, 1 and 0; all 0 where no word is known."""
        tokens = torch.zeros(len(texts), self.length, WIDTH)
        for row, text in zip(tokens, texts, strict=True):
            found = [(word, phrase[-1]) for phrase in self.known_phrases(text) for word in phrase]
            if found := found[: self.length]:
                row[: len(found)] = torch.from_numpy(
                    np.stack([np.concatenate([*map(vector_of, pair)]) for pair in found])
                )
        return tokens

    def cut(self, text: str) -> str:
        """The known words of a text that come after the first `length`."""
        return " ".join([word for phrase in self.known_phrases(text) for word in phrase][self.length :])

    def unknown(self, text: str) -> list[tuple[str, list[str]]]:
        """The words that no caption had, each with the most similar known ones; a text without words is one."""
        words = [word for phrase in phrases_of(text) for word in phrase] or [text.strip()]
        missing = dict.fromkeys(word for word in words if word and word not in self.known)
        return [(word, difflib.get_close_matches(word, self.words, n=NEAREST)) for word in missing]

    def known_phrases(self, text: str) -> list[list[str]]:
        return [[word for word in phrase if word in self.known] for phrase in phrases_of(text)]


NO_WORDS = "words: wanted captions with words; got none; give every object a caption (`--captions FILE`)"


def words_of(captions: Iterable[str]) -> list[str]:
    """All words that captions say, in the singular, sorted."""
    return sorted({word for caption in captions for phrase in phrases_of(caption) for word in phrase})


def phrases_of(text: str) -> list[list[str]]:
    """The words of a text in lower case and the singular, phrase by phrase, without those that say nothing."""
    text = unicodedata.normalize("NFKC", text).casefold()
    phrases: list[list[str]] = [[]]
    for kind, letters in groupby(text, kind_of):
        run = "".join(letters)
        if kind == "stop" or (kind == "letter" and run in JOINING):
            phrases.append([])
        elif kind == "sign":  # of Chinese or Japanese, which set no spaces
            phrases[-1] += run
        elif kind == "letter" and run not in SKIPPED:
            phrases[-1].append(singular(run)[:WORD_BYTES])
    return [phrase for phrase in phrases if phrase]


def kind_of(letter: str) -> str:
    """letter (also marks and digits), sign (a word by itself), stop (ends a phrase) or gap (between words)."""
    if "\u3040" <= letter <= "\u30ff" or "\u3400" <= letter <= "\u9fff":
        return "sign"
    if unicodedata.category(letter)[0] in "LNM":
        return "letter"
    return "gap" if letter.isspace() or letter in "-'_\u2019\u2010\u2011" else "stop"


def singular(word: str) -> str:
    """Of an English plural: the same for "leg" and "legs"; what it makes of other words it makes of them always."""
    if len(word) < 4 or not word.endswith("s") or word.endswith(TWO_LETTERS):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith("lves"):
        return word[:-3] + "f"
    return word[:-2] if word.endswith(("sses", "xes", "ches", "shes")) else word[:-1]


def vector_of(word: str) -> np.ndarray:
    """[WORD_WIDTH] of -1 and 1, the bits of the word's hash."""
    digest = hashlib.blake2b(word.encode(), digest_size=WORD_WIDTH // 8).digest()
    return np.unpackbits(np.frombuffer(digest, np.uint8)).astype(np.float32) * 2 - 1

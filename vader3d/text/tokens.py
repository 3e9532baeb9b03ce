"""Texts as tokens: what makes them, and where they are kept.

A tokens file is a snapshot of kind "tokens": `tokens` float16 [N, T, S] and `keys` uint8 [N, 32], the SHA-256 of what
each text's tokens depend on: the encoder's checksum, its length and the text.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from vader3d.config import config_from_dict, config_to_dict, within
from vader3d.files import write_whole
from vader3d.progress import track
from vader3d.snapshots import explained_by, load_as_stored, packed_header

TOKENS = "tokens.safetensors"
TEXTS_PER_BATCH = 64
MOST_TOKENS = 1 << 16  # of a text
SHOWN = 60  # letters of a text that a remark repeats


class TextEncoder(Protocol):
    """A frozen network that makes tokens of texts, alike wherever the `checksum` is.

    width: numbers of a token. length: tokens of a text; longer texts are cut, shorter ones end in zeros.
    """

    name: str
    checksum: str
    width: int
    length: int

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Texts -> tokens [len(texts), length, width], float32 on the CPU; those of an empty text are all zeros."""

    def cut(self, text: str) -> str:
        """The words that did not fit; empty where all did."""

    def unknown(self, text: str) -> list[tuple[str, list[str]]]:
        """The words that mean nothing to the encoder, each with the nearest ones that do."""


def remarks(encoder: TextEncoder, text: str) -> list[str]:
    """What of a text the encoder does not heed, a line each: words it does not know, words that do not fit."""
    said = []
    if unknown := encoder.unknown(text):
        words = ", ".join(f"{word} (nearest: {', '.join(near)})" if near else word for word, near in unknown)
        said.append(f"prompt {text[:SHOWN]!r}: not learned, left out: {words}")
    if cut := encoder.cut(text):
        said.append(f"prompt {text[:SHOWN]!r}: longer than {encoder.length} tokens, cut: {cut}")
    return said


@dataclass(frozen=True)
class EncoderNote:
    """What is recorded of an encoder beside what was learned with it; `words` are the vocabulary's."""

    name: str
    checksum: str
    width: int = field(metadata=within(at_least=1))
    length: int = field(metadata=within(at_least=1, at_most=MOST_TOKENS))
    words: tuple[str, ...] = ()

    def check(self, encoder: TextEncoder) -> None:
        """ValueError, which names both, for an encoder that makes other tokens."""
        if (encoder.checksum, encoder.width, encoder.length) != (self.checksum, self.width, self.length):
            raise ValueError(f"text_encoder: wanted {self}, which the model learned with; got {note_of(encoder)}")

    def __str__(self) -> str:
        return f"{self.name!r} ({self.checksum[:12]}, {self.length} tokens of {self.width})"


def note_of(encoder: TextEncoder) -> EncoderNote:
    words = tuple(getattr(encoder, "words", ()))
    return EncoderNote(encoder.name, encoder.checksum, encoder.width, encoder.length, words)


def key_of(encoder: TextEncoder | EncoderNote, text: str) -> bytes:
    """32 bytes that change with the encoder, its length or the text."""
    return hashlib.sha256(f"{encoder.checksum} {encoder.length}\n{text}".encode()).digest()


def store_tokens(path: Path, encoder: TextEncoder, texts: Sequence[str]) -> None:
    """Leave the tokens of distinct texts in the file: what it has is taken over, the rest computed. Written whole.

    ValueError: some tokens are not finite. OSError: it cannot be written.
    """
    there = stored(path, encoder)
    keys = [key_of(encoder, text) for text in texts]
    if [*there] == keys:
        return
    shapes = {"tokens": (len(texts), encoder.length, encoder.width), "keys": (len(texts), 32)}
    header = {"kind": "tokens", "encoder": config_to_dict(note_of(encoder))}
    length = len(packed_header(shapes, header, types=TYPES))
    head = packed_header(shapes, header, types=TYPES, length=length + -length % 8)

    def tokens_of(part: range) -> Tensor:
        missing = [i for i in part if keys[i] not in there]
        new = encoder.encode([texts[i] for i in missing]).half()
        if not new.isfinite().all():
            raise ValueError(f"text_encoder: wanted tokens that float16 holds; got others of {encoder.name}")
        made = dict(zip(missing, new, strict=True))
        return torch.stack([made[i] if i in made else there[keys[i]] for i in part])

    def write(temporary: Path) -> None:
        parts = [range(i, min(i + TEXTS_PER_BATCH, len(texts))) for i in range(0, len(texts), TEXTS_PER_BATCH)]
        with temporary.open("wb") as file:
            file.write(head)
            for part in track(parts, "texts", total=len(parts)):
                file.write(tokens_of(part).numpy().data)
            file.write(b"".join(keys))

    write_whole(path, write)


TYPES = {"tokens": "F16", "keys": "U8"}


def stored(path: Path, encoder: TextEncoder) -> dict[bytes, Tensor]:
    """Tokens [length, width] by key, mapped from the file; none where there is no file that this encoder's would be."""
    if not path.is_file():
        return {}
    try:
        tensors, _ = load_as_stored(path, "tokens")
        tokens, keys = tensors["tokens"], tensors["keys"]
    except (ValueError, KeyError):  # damaged, or another's: made anew
        return {}
    whole = tokens.dtype == torch.float16 and keys.dtype == torch.uint8 and keys.shape[1:] == (32,)
    if not whole or tokens.shape != (len(keys), encoder.length, encoder.width):
        return {}
    return dict(zip(map(bytes, keys.numpy()), tokens, strict=True))


def read_tokens(path: Path, texts: Sequence[str]) -> tuple[Tensor, EncoderNote]:
    """The tokens [N, length, width] of just those texts that `store_tokens` was given, in float16, mapped.

    With what made them. ValueError: the file has others.
    """
    tensors, header = load_as_stored(path, "tokens")
    with explained_by(path, header):
        note = config_from_dict(EncoderNote, header["encoder"])
        if tensors["keys"].numpy().tobytes() != b"".join(key_of(note, text) for text in texts):
            raise ValueError("keys: wanted the tokens of these captions; got others; delete the file, it is made anew")
        return tensors["tokens"], note


class CaptionTokens:
    """The captions of every object as tokens: any of them, at random, each time the object is learned from.

    tokens: [M, T, S], of all captions. rows: of each object, the numbers of its captions in `tokens`.
    """

    def __init__(self, tokens: Tensor, rows: Iterable[Sequence[int]]):
        listed = [*rows]
        self.tokens = tokens
        self.counts = torch.tensor([len(row) for row in listed])
        self.starts = self.counts.cumsum(0) - self.counts
        self.rows = torch.tensor([number for row in listed for number in row], dtype=torch.long)

    def draw(self, objects: Tensor, *, dropout: float, generator: torch.Generator) -> Tensor:
        """For each object [B] the number of one of its captions; -1, no text, for a share `dropout` (A24).

        -1 too where an object has no caption.
        """
        chosen, kept = torch.rand(2, len(objects), generator=generator)
        counts = self.counts[objects]
        places = self.starts[objects] + (chosen * counts).long().clamp_max((counts - 1).clamp_min(0))
        texts = torch.full_like(objects, -1)
        said = (counts > 0) & (kept >= dropout)
        texts[said] = self.rows[places[said]]
        return texts

    def of(self, numbers: Tensor) -> Tensor:
        """The tokens [B, T, S] of captions [B], float32; zeros, the unconditional case, for -1."""
        tokens = self.tokens[numbers.clamp_min(0)].float()
        return tokens * (numbers >= 0).view(-1, 1, 1)

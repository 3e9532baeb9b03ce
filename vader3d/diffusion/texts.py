"""The captions of latents, from which stage 2 learns, and their tokens."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from vader3d.captions import read_captions
from vader3d.frozen.text import load_text_encoder
from vader3d.frozen.vocabulary import words_of
from vader3d.progress import console
from vader3d.text.captions import OBJECTS, read_objects
from vader3d.text.tokens import CaptionTokens, EncoderNote, TextEncoder, read_tokens, store_tokens

CUT_SHOWN = 60  # letters of a caption that does not fit


@dataclass(frozen=True)
class Texts:
    """The captions of each latent; an object may have several, or none."""

    captions: tuple[tuple[str, ...], ...]

    @cached_property
    def distinct(self) -> list[str]:
        """Every text once, in the order of the objects."""
        return [*dict.fromkeys(text for texts in self.captions for text in texts)]

    def check(self, latents: int) -> None:
        """ValueError: these are others' captions. Says how many objects have none."""
        if len(self.captions) != latents:
            raise ValueError(f"{OBJECTS}: wanted {latents} lines, one a latent; got {len(self.captions)}")
        if without := sum(not captions for captions in self.captions):
            console.print(f"text: {without} of {latents} objects have no caption; they are learned without text")

    @property
    def checksum(self) -> str:
        return hashlib.sha256(json.dumps(self.captions).encode()).hexdigest()

    def encoder(self, name: str, *, length: int, download: bool, device: torch.device) -> TextEncoder:
        """The named encoder; a vocabulary of these captions' words. ValueError as `load_text_encoder`."""
        return load_text_encoder(name, words=words_of(self.distinct), length=length, download=download, device=device)

    def store(self, path: Path, encoder: TextEncoder) -> None:
        """Leave the tokens of all captions in the file, and say which captions are cut."""
        store_tokens(path, encoder, self.distinct)
        if cut := [text for text in self.distinct if encoder.cut(text)]:
            shown = f"{cut[0][:CUT_SHOWN]!r} without {encoder.cut(cut[0])[:CUT_SHOWN]!r}"
            console.print(
                f"text: {len(cut)} of {len(self.distinct)} captions are longer than {encoder.length} tokens: {shown}"
            )

    def tokens(self, path: Path) -> tuple[CaptionTokens, EncoderNote]:
        """What `store` left there, with what made it."""
        tokens, note = read_tokens(path, self.distinct)
        number = {text: row for row, text in enumerate(self.distinct)}
        return CaptionTokens(tokens, [[number[text] for text in texts] for texts in self.captions]), note


def captions_of(autodecoder_run: Path, file: Path | None = None) -> Texts:
    """The captions of a run's latents, as stage 1 noted them, or as the caption `file` has them by the objects' names.

    ValueError: the run is too old to say what its objects are, or there is no caption at all.
    """
    objects = read_objects(path := autodecoder_run / OBJECTS)
    said = [entry.captions for entry in objects]
    if file is not None:
        given = read_captions(file)
        said = [given.of(entry.name) for entry in objects]
        for note in given.notes():
            console.print(note)
    texts = Texts(tuple(tuple(caption.text for caption in captions if caption.text.strip()) for captions in said))
    if not texts.distinct:
        raise ValueError(f"{file or path}: wanted at least 1 caption of these objects; got none; see --captions FILE")
    return texts

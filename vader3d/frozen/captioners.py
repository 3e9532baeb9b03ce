"""Networks of `transformers` that describe pictures, and that judge it.

Nothing is fetched unless it is asked for: folders and what the cache of `transformers` holds are read.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vader3d.machine import chosen_device
from vader3d.untrusted import reason_of

PROMPT = "Hint: this is {name}. Describe the object in one short sentence."  # the name is a hint, as in the paper
NAMELESS = "an object"
LONGEST = 60  # tokens of a caption
NEEDED = "captions: wanted the package transformers; got none; pip install 'vader3d[text]'"


class ImageCaptioner:
    """Any image-text-to-text network: asked `prompt`, in which {name} stands for what an object is called.

    Another process that is handed one loads it anew, once, and on `auto` where it has a GPU.
    """

    def __init__(self, place: str, prompt: str = PROMPT, *, download: bool = False, device: str = "cpu"):
        """place: its folder or id. ValueError: it is not here, or does something else; ImportError: no package."""
        try:
            from transformers import AutoModelForImageTextToText, AutoProcessor
        except ImportError as error:
            raise ImportError(NEEDED) from error
        network, self.processor = loaded(place, (AutoModelForImageTextToText, AutoProcessor), download=download)
        self.name, self.prompt, self.device = Path(place).name, prompt, chosen_device(device)
        self.network, self.again = network.to(self.device).eval(), (place, prompt, download, device)

    def __reduce__(self) -> tuple:
        return captioner_again, self.again

    def __repr__(self) -> str:
        return f"{self.name} asked {self.prompt}"

    @torch.no_grad()
    def __call__(self, pictures: np.ndarray, hint: str) -> list[str]:
        """A text for each of the pictures uint8 [V, H, W, 3], without the prompt."""
        question = self.prompt.replace("{name}", hint or NAMELESS)
        images = [Image.fromarray(picture) for picture in pictures]
        inputs = self.processor(
            images=images, text=[self.worded(question)] * len(images), padding=True, return_tensors="pt"
        ).to(self.device)
        tokens = self.network.generate(**inputs, max_new_tokens=LONGEST, do_sample=False)
        answers = [row[repeated(row, asked) :] for row, asked in zip(tokens, inputs["input_ids"], strict=True)]
        return [text.strip() for text in self.processor.batch_decode(answers, skip_special_tokens=True)]

    def worded(self, question: str) -> str:
        """As the network's chat wants it, if it has one."""
        if not getattr(self.processor, "chat_template", None):
            return question
        said = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
        return self.processor.apply_chat_template(said, add_generation_prompt=True, tokenize=False)


def repeated(tokens: torch.Tensor, asked: torch.Tensor) -> int:
    """How many of an answer's first tokens [T] are those asked [A], as of many networks; the first may differ."""
    length = min(len(tokens), len(asked))
    same = int((tokens[1:length] == asked[1:length]).long().cumprod(0).sum())
    return same + 1 if same else 0


class ClipScorer:
    """A CLIP: the mean cosine of a text's and of pictures' features; loaded as an `ImageCaptioner` is."""

    def __init__(self, place: str, *, download: bool = False, device: str = "cpu"):
        """place: its folder or id; errors as of `ImageCaptioner`."""
        try:
            from transformers import CLIPModel, CLIPProcessor
        except ImportError as error:
            raise ImportError(NEEDED) from error
        network, self.processor = loaded(place, (CLIPModel, CLIPProcessor), download=download)
        self.name, self.device = Path(place).name, chosen_device(device)
        self.network, self.again = network.to(self.device).eval(), (place, download, device)

    def __reduce__(self) -> tuple:
        return scorer_again, self.again

    def __repr__(self) -> str:
        return self.name

    @torch.no_grad()
    def __call__(self, texts: Sequence[str], pictures: np.ndarray) -> list[float]:
        """One score a text, over the pictures uint8 [V, H, W, 3]."""
        images = [Image.fromarray(picture) for picture in pictures]
        inputs = self.processor(text=list(texts), images=images, padding=True, truncation=True, return_tensors="pt").to(
            self.device
        )
        features = self.network(**inputs)
        cosines = features.text_embeds @ features.image_embeds.T  # both of unit length
        return cosines.mean(1).tolist()


@cache
def captioner_again(place: str, prompt: str, download: bool, device: str) -> ImageCaptioner:
    return ImageCaptioner(place, prompt, download=download, device=device)


@cache
def scorer_again(place: str, download: bool, device: str) -> ClipScorer:
    return ClipScorer(place, download=download, device=device)


def loaded(name: str, kinds: Sequence[Any], *, download: bool) -> list[Any]:
    """One of each kind from a folder or id."""
    try:
        return [kind.from_pretrained(name, local_files_only=not download) for kind in kinds]
    except Exception as error:  # each version of transformers has its own
        raise ValueError(
            f"model: wanted a folder or downloaded id of such a network; got {name} ({reason_of(error)}); "
            "--download fetches one where the internet is"
        ) from error

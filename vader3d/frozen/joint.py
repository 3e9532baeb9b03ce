"""One encoder of both pictures and texts: CLIP, from its folder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vader3d.files import checksum_of
from vader3d.frozen.embeddings import FeatureNetwork
from vader3d.untrusted import read_json, reading

WEIGHTS, PREPROCESSOR = "model.safetensors", "preprocessor_config.json"
TEXTS_PER_BATCH = 64


class JointEncoder:
    """`pictures` [N, 3, H, W] in [0, 1] -> float32 [N, d]; `texts`: strings -> float32 [M, d] in the same space.

    Texts longer than the encoder takes are cut.
    """

    def __init__(self, pictures: FeatureNetwork, texts: Callable[[Sequence[str]], Tensor]):
        self.name, self.checksum = pictures.name, pictures.checksum
        self.pictures, self.texts = pictures, texts


def projected(found: Any) -> Tensor:
    """Features as `transformers` hands them out: a tensor, or since version 5 beside what led to them."""
    return (found if isinstance(found, Tensor) else found.pooler_output).float().cpu()


def load_joint_encoder(folder: Path, *, device: torch.device | str = "cpu") -> JointEncoder:
    """A CLIP model's folder as `save_pretrained` writes it (model.safetensors); nothing is downloaded.

    ModuleNotFoundError, FileNotFoundError, ValueError: no transformers, no such folder, another model.
    """
    for name in (WEIGHTS, PREPROCESSOR):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"clip: wanted the folder of a CLIP model; got {folder}, without {name}")
    try:
        from transformers import AutoTokenizer, CLIPModel
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("clip: wanted transformers; got no such package; pip install transformers") from error
    settings = read_json(folder / PREPROCESSOR, "a CLIP model's preprocessor")
    with reading(folder, "a CLIP model"):
        mean, std = (torch.tensor(settings[key])[:, None, None].to(device) for key in ("image_mean", "image_std"))
        model: Any = CLIPModel.from_pretrained(folder, local_files_only=True)
        model = model.to(device).eval().requires_grad_(False)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def network(pictures: Tensor) -> Tensor:
        return projected(model.get_image_features(pixel_values=(pictures.to(device) - mean) / std))

    def texts(texts: Sequence[str]) -> Tensor:
        parts = [list(texts[start : start + TEXTS_PER_BATCH]) for start in range(0, len(texts), TEXTS_PER_BATCH)]
        return torch.cat([embedded(part) for part in parts])

    @torch.no_grad()
    def embedded(part: list[str]) -> Tensor:
        tokens = tokenizer(part, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        ids, mask = (tokens[key].to(device) for key in ("input_ids", "attention_mask"))
        return projected(model.get_text_features(input_ids=ids, attention_mask=mask))

    size, longest = int(model.config.vision_config.image_size), int(model.config.text_config.max_position_embeddings)
    return JointEncoder(FeatureNetwork(folder.name, checksum_of(folder / WEIGHTS), size, network), texts)

"""Encoders of both pictures and texts: CLIP, from a folder of `transformers`."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from vader3d.files import checksum_of
from vader3d.frozen.embeddings import FeatureNetwork
from vader3d.untrusted import read_json, reading

WEIGHTS, PREPROCESSOR = "model.safetensors", "preprocessor_config.json"


class JointEncoder:
    """`pictures` [N, 3, H, W] in [0, 1] -> float32 [N, d]; `texts`: strings -> float32 [M, d] in the same space.

    Texts longer than the encoder takes are cut.
    """

    def __init__(self, pictures: FeatureNetwork, model: nn.Module, tokenizer, device: torch.device | str):
        self.name, self.checksum, self.pictures = pictures.name, pictures.checksum, pictures
        self.model, self.tokenizer, self.device = model, tokenizer, device

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        longest = self.model.config.text_config.max_position_embeddings
        parts = []
        for start in range(0, len(texts), 64):
            tokens = self.tokenizer(
                list(texts[start : start + 64]), padding=True, truncation=True, max_length=longest, return_tensors="pt"
            )
            found = self.model.get_text_features(
                tokens["input_ids"].to(self.device), tokens["attention_mask"].to(self.device)
            )
            parts.append(projected(found))
        return torch.cat(parts)


def projected(found) -> Tensor:
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
        model = CLIPModel.from_pretrained(folder, local_files_only=True).to(device).eval().requires_grad_(False)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def network(pictures: Tensor) -> Tensor:
        return projected(model.get_image_features((pictures.to(device) - mean) / std))

    size = int(model.config.vision_config.image_size)
    pictures = FeatureNetwork(folder.name, checksum_of(folder / WEIGHTS), size, network)
    return JointEncoder(pictures, model, tokenizer, device)

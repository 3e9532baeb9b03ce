"""A ComfyUI node that makes an object through a studio: a mesh's file and a picture of it.

Copy this file into ComfyUI/custom_nodes and `pip install --no-deps vader3d` into ComfyUI's Python: nothing is compiled,
and the model runs in the studio, which may be on another machine. To try it without ComfyUI:

    VADER3D_TOKEN=... python examples/comfyui_node.py http://127.0.0.1:7860
"""

import os
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

from vader3d.studio.client import Client


def output_folder() -> Path:
    """Where ComfyUI keeps what is made; elsewhere this folder."""
    try:
        import folder_paths  # type: ignore[import-not-found]  # ComfyUI's
    except ImportError:
        return Path()
    return Path(folder_paths.get_output_directory())


class Vader3DStudio:
    """One object of a prompt and a seed."""

    CATEGORY = "3d"
    FUNCTION = "make"
    RETURN_TYPES = ("STRING", "IMAGE")
    RETURN_NAMES = ("glb_path", "picture")
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:
        return {
            "required": {
                "prompt": ("STRING", {"default": "a red chair", "multiline": True}),
                "seed": ("INT", {"default": 0, "min": 0, "max": (1 << 53) - 1}),
                "steps": ("INT", {"default": 12, "min": 1, "max": 256}),
                "guidance": ("FLOAT", {"default": 3.0, "min": 0.0, "max": 100.0}),
                "address": ("STRING", {"default": "http://127.0.0.1:7860"}),
            }
        }

    def make(self, prompt: str, seed: int, steps: int, guidance: float, address: str) -> tuple[str, Any]:
        """The token is that of VADER3D_TOKEN: workflows are shared, and it is nobody else's."""
        client = Client(address, os.environ.get("VADER3D_TOKEN", ""))
        (asset,) = client.make(prompts=[prompt], seeds=[seed], count=1, steps=steps, guidance=guidance)
        path = output_folder() / f"vader3d-{asset}.glb"
        client.save(asset, path)
        return str(path), first_frame(client.ask("GET", f"/v1/assets/{asset}.webp"))


def first_frame(turntable: bytes) -> Any:
    """As ComfyUI has pictures: float [1, H, W, 3] in [0, 1], here on white."""
    import numpy as np
    import torch
    from PIL import Image

    seen = Image.open(BytesIO(turntable)).convert("RGBA")
    white = Image.new("RGBA", seen.size, "white")
    pixels = np.asarray(Image.alpha_composite(white, seen).convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels)[None]


NODE_CLASS_MAPPINGS = {"Vader3DStudio": Vader3DStudio}
NODE_DISPLAY_NAME_MAPPINGS = {"Vader3DStudio": "vader3d: an object of a prompt"}

if __name__ == "__main__":
    print(Vader3DStudio().make("", 0, 12, 3.0, sys.argv[1])[0])

"""Both stages trained from Python, then new objects: what the commands do, on one page.

    python examples/train_from_python.py                                                  # a minute: blobs
    python examples/train_from_python.py --preset small --objects 163 --seconds 1800      # an hour: furniture

The same command again goes on where it stopped.
"""

from pathlib import Path

import tyro

from vader3d import Generator
from vader3d.autodecoder.train import train_autodecoder
from vader3d.config import override
from vader3d.data.named import open_archive
from vader3d.diffusion.train import train_diffusion
from vader3d.presets import PRESETS


def main(*, output: Path = Path("runs/python"), preset: str = "tiny", objects: int = 8, seconds: float = 20.0) -> None:
    archive = open_archive("furniture").select(range(objects))  # or the path of your own
    chosen, budget = PRESETS[preset], [f"loop.seconds={seconds}"]  # any fields: `vader3d presets NAME` lists them

    # Stage 1: a code for each object, and the decoder that makes volumes of codes.
    train_autodecoder(archive, override(chosen.autodecoder, budget), output / "autodecoder")

    # Stage 2: a denoiser of the latents that stage 1 has left in its folder.
    train_diffusion(output / "autodecoder", override(chosen.diffusion, budget), output / "diffusion")

    # New objects. The folder of stage 2 holds all that generation needs.
    generator = Generator.from_pretrained(output / "diffusion")
    for asset in generator(count=4, seed=0):
        print(asset.save(output / f"{asset.name}.webp"))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)

"""New objects from a trained model.

    python examples/generate.py runs/demo/diffusion --output assets

The model is the run folder of stage 2: of `make demo`, of `vader3d train diffusion`, or of train_from_python.py.
"""

from pathlib import Path

import tyro

from vader3d import Generator


def main(model: tyro.conf.Positional[Path], *, output: Path = Path("assets"), count: int = 4, seed: int = 0) -> None:
    generator = Generator.from_pretrained(model)  # both stages; on a GPU where there is one
    for asset in generator(count=count, seed=seed):  # object i of a seed is always the same
        asset.save(output / f"{asset.name}.glb")  # a coloured mesh
        asset.save(output / f"{asset.name}.webp")  # a turntable
    print(f"{output}: {count} objects")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)

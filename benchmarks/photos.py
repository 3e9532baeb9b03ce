"""How many rendered objects get their cameras back from photographs alone, and how well.

    PYTHONPATH=tests python benchmarks/photos.py --objects 20

Objects are textured boxes on a textured table, photographed by cameras that nobody is told (`tests/photographed.py`);
the masks are the true ones. Rotations are compared after one turn of the world; a line an object, then the sum.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from photographed import rotation_errors, table_session, write_photos

from vader3d.data.photographs.objects import Photography
from vader3d.data.photographs.prepare import prepare_photographs
from vader3d.data.reading.colmap_model import read_model
from vader3d.frozen.matting import Matting


def posed_errors(seed: int, folder: Path, *, views: int) -> np.ndarray | None:
    """Degrees of each registered photograph's rotation; None for an object without cameras."""
    session = table_session(seed, views=views, height=240, width=320)
    write_photos(folder / "photos" / "boxes", session)
    try:
        prepare_photographs(folder / "photos", folder / "out.zip", Photography(), Matting("file"), processes=1)
    except ValueError as error:
        print(f"{seed}: {error}", flush=True)
        return None
    images = read_model(folder / "out.zip.photos" / "boxes" / "sparse" / "0")
    true = session.cameras.world_from_camera.numpy()[[int(image.name[:3]) for image in images]]
    return rotation_errors(np.stack([image.world_from_camera for image in images]), true)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--views", type=int, default=24)
    asked = parser.parse_args()
    medians = []
    for seed in range(asked.first, asked.first + asked.objects):
        with TemporaryDirectory() as folder:
            errors = posed_errors(seed, Path(folder), views=asked.views)
        if errors is not None:
            medians.append(float(np.median(errors)))
            print(f"{seed}: {len(errors)} of {asked.views}, median {medians[-1]:.3f}, most {errors.max():.3f} degrees")
    print(f"{len(medians)} of {asked.objects} posed; median of their medians {np.median(medians):.3f} degrees")


if __name__ == "__main__":
    main()

"""Your own posed pictures -> an archive to train on -> a look at it.

    python examples/own_pictures.py                        # makes pictures of three balls first
    python examples/own_pictures.py --source my_scans/     # reads yours: folders with transforms.json, one an object

Prints the commands as it runs them; then open OUTPUT/look.
"""

import json
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image

from vader3d import Cameras
from vader3d.cli.main import main as command_line
from vader3d.geometry.cameras import OPENCV_FROM_OPENGL, orbit_cameras

COLOURS = {"red": (0.9, 0.2, 0.1), "green": (0.2, 0.7, 0.3), "blue": (0.1, 0.3, 0.9)}
VIEWS, SIZE, FOV_DEGREES, RADIUS = 12, 64, 40.0, 0.8


def ball_pictures(cameras: Cameras, colour: tuple[float, float, float]) -> np.ndarray:
    """A ball at the origin, tinted by where its surface faces, as the cameras [V] see it: RGBA uint8 [V, H, W, 4]."""
    rays = cameras[None].rays()
    along = -(rays.origins * rays.directions).sum(-1, keepdim=True)
    half_chord = (RADIUS**2 - (rays.origins + along * rays.directions).square().sum(-1, keepdim=True)).clamp_min(0)
    normals = (rays.origins + (along - half_chord.sqrt()) * rays.directions) / RADIUS
    mask = (half_chord > 0).float()
    pixels = torch.cat([torch.tensor(colour) * (0.7 + 0.3 * normals) * mask, mask], -1).view(
        -1, cameras.height, cameras.width, 4
    )
    return (pixels * 255).round().to(torch.uint8).numpy()


def write_scan(folder: Path, colour: tuple[float, float, float]) -> None:
    """One object as NeRF tools write it: pictures, and transforms.json with a camera for each."""
    folder.mkdir(parents=True, exist_ok=True)
    azimuths, elevations = torch.arange(VIEWS) * 360.0 / VIEWS, torch.tensor([0.0, 35.0, -25.0]).repeat(VIEWS // 3)
    cameras = orbit_cameras(azimuths, elevations, distance=4.0, fov_degrees=FOV_DEGREES, size=SIZE)
    frames = []
    for view, picture in enumerate(ball_pictures(cameras, colour)):
        Image.fromarray(picture).save(folder / f"{view:03d}.png")
        matrix = cameras.world_from_camera[view].numpy().copy()
        matrix[:3, :3] *= OPENCV_FROM_OPENGL  # the file's cameras look along -z with y up
        frames.append({"file_path": f"{view:03d}.png", "transform_matrix": matrix.tolist()})
    document = {"camera_angle_x": float(np.deg2rad(FOV_DEGREES)), "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(document))
    (folder / "caption.txt").write_text(f"a {folder.name} ball")


def run(*command: object) -> None:
    """A command as it is typed in a shell."""
    print("vader3d", *command)
    command_line([str(word) for word in command])


def main(*, source: Path | None = None, output: Path = Path("runs/own_pictures"), size: int = 64) -> None:
    if source is None:
        source = output / "scans"
        for name, colour in COLOURS.items():
            write_scan(source / name, colour)
    run("prepare", "nerfstudio", source, "--output", output / "data.zip", "--size", size)
    run("inspect", output / "data.zip", "--output", output / "look")
    print(f"next: vader3d train autodecoder --data {output / 'data.zip'} --output runs/mine")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)

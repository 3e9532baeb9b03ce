"""Data sets as other software writes them: a marked box, ray-traced by trimesh with trimesh's own cameras."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

from vader3d.data.making.conversion import PrepareReport
from vader3d.data.reading.folders import prepare_folders
from vader3d.data.reading.reader import Reader, Reading

MARK = np.array([0.45, -0.3, 0.35])  # a small red ball's centre, off the grey box
SIZE, FOV_DEGREES = 48, 40.0
ANGLES = [(60, 20), (75, 75), (45, 140), (80, 200), (65, 260), (30, 320), (90, 350)]  # from the zenith; about z


@dataclass
class ForeignView:
    """RGBA uint8 [H, W, 4] and the camera's pose, OpenGL axes [4, 4]."""

    picture: np.ndarray
    pose: np.ndarray


def trimesh_views(*, distance: float = 2.5, size: int = SIZE) -> list[ForeignView]:
    """The scene from all `ANGLES`, looking at the origin; focal length by `focal_px`."""
    box = trimesh.creation.box((0.6, 0.4, 0.3))
    mesh = trimesh.util.concatenate(
        [box, trimesh.creation.icosphere(subdivisions=3, radius=0.07).apply_translation(MARK)]
    )
    views = []
    for zenith, azimuth in ANGLES:
        turn = trimesh.transformations.euler_matrix(np.deg2rad(zenith), 0, np.deg2rad(azimuth), "sxyz")
        camera = trimesh.scene.Camera(resolution=(size, size), fov=(FOV_DEGREES, FOV_DEGREES))
        back = trimesh.transformations.translation_matrix([0, 0, distance])
        scene = trimesh.Scene(mesh, camera=camera, camera_transform=turn @ back)
        origins, directions, _ = scene.camera_rays()
        faces = mesh.ray.intersects_first(origins, directions).reshape(size, size).T  # trimesh: column by column
        picture = np.zeros((size, size, 4), np.uint8)
        picture[faces >= 0] = (110, 115, 120, 255)
        picture[faces >= len(box.faces)] = (240, 10, 10, 255)
        views.append(ForeignView(picture, np.array(scene.camera_transform)))
    return views


def focal_px(size: int = SIZE) -> float:
    return size / 2 / np.tan(np.deg2rad(FOV_DEGREES) / 2)


def on_white(picture: np.ndarray) -> np.ndarray:
    alpha = picture[..., 3:] / 255
    return np.rint(picture[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


def write_blender(folder: Path, views: list[ForeignView]) -> Path:
    """As NeRF-synthetic: split files, no suffix in file_path, camera_angle_x, RGBA."""
    for split, chosen in (("train", range(5)), ("val", [5]), ("test", range(6, len(views)))):
        frames = []
        (folder / split).mkdir(parents=True, exist_ok=True)
        for number in chosen:
            Image.fromarray(views[number].picture).save(folder / split / f"r_{number}.png")
            frames.append({"file_path": f"./{split}/r_{number}", "transform_matrix": views[number].pose.tolist()})
        document = {"camera_angle_x": np.deg2rad(FOV_DEGREES), "frames": frames}
        (folder / f"transforms_{split}.json").write_text(json.dumps(document))
    return folder


def write_nerfstudio(folder: Path, views: list[ForeignView]) -> Path:
    """As nerfstudio: one transforms.json, fl_x and friends, JPEG-like RGB on white and mask files."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    frames = []
    for number, view in enumerate(views):
        name = f"frame_{number:05d}.png"
        Image.fromarray(on_white(view.picture)).save(folder / "images" / name)
        Image.fromarray(view.picture[..., 3]).save(folder / "masks" / name)
        frames.append(
            {"file_path": f"images/{name}", "mask_path": f"masks/{name}", "transform_matrix": view.pose.tolist()}
        )
    size = len(views[0].picture)
    lens = {"fl_x": focal_px(size), "fl_y": focal_px(size), "cx": size / 2, "cy": size / 2, "w": size, "h": size}
    (folder / "transforms.json").write_text(json.dumps({"camera_model": "OPENCV", **lens, "frames": frames}))
    return folder


def write_srn(folder: Path, views: list[ForeignView]) -> Path:
    """As SRN: white background, OpenCV poses, intrinsics in four lines."""
    (folder / "rgb").mkdir(parents=True)
    (folder / "pose").mkdir()
    size = len(views[0].picture)
    for number, view in enumerate(views):
        Image.fromarray(on_white(view.picture)).save(folder / "rgb" / f"{number:06d}.png")
        pose = view.pose @ np.diag([1, -1, -1, 1])
        (folder / "pose" / f"{number:06d}.txt").write_text(" ".join(f"{x:.9f}" for x in pose.flatten()))
    lines = [f"{focal_px(size)} {size / 2} {size / 2} 0.", "0. 0. 0.", "1.", f"{size} {size}"]
    (folder / "intrinsics.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_eg3d(folder: Path, views: list[ForeignView]) -> Path:
    """As EG3D: folders of pictures, one dataset.json above, OpenCV poses and lenses as shares of the side."""
    labels, size = [], len(views[0].picture)
    folder.mkdir(parents=True)
    for number, view in enumerate(views):
        Image.fromarray(view.picture).save(folder / f"img{number:08d}.png")
        share = focal_px(size) / size
        lens = [share, 0, 0.5, 0, share, 0.5, 0, 0, 1]
        pose = view.pose @ np.diag([1, -1, -1, 1])
        labels.append([f"{folder.name}/img{number:08d}.png", [*pose.flatten().tolist(), *lens]])
    (folder.parent / "dataset.json").write_text(json.dumps({"labels": labels}))
    return folder


def write_objaverse(folder: Path, views: list[ForeignView]) -> Path:
    """As zero123's renderer: camera_from_world in .npy, OpenCV axes."""
    folder.mkdir(parents=True)
    for number, view in enumerate(views):
        Image.fromarray(view.picture).save(folder / f"{number:03d}.png")
        pose = view.pose @ np.diag([1, -1, -1, 1])
        np.save(folder / f"{number:03d}.npy", np.linalg.inv(pose)[:3].astype(np.float32))
    return folder


def prepare(reader: Reader, source: Path, output: Path, *, processes: int = 1, **reading) -> PrepareReport:
    """Read a folder into an archive; `reading` are fields of Reading."""
    return prepare_folders(reader, source, output, Reading(**reading), processes=processes)

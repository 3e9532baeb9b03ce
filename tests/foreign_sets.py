"""More data sets as other software writes them, of the marked box of `foreign.py`."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from colmap_files import write_colmap
from foreign import FOV_DEGREES, ForeignView, focal_px, on_white
from PIL import Image
from scipy.spatial.transform import Rotation

CV = np.diag([1.0, -1, -1, 1])
Views = list[ForeignView]
SCALE, SHIFT = 3.0, np.array([0.5, -1.0, 2.0])  # of DTU's world, in which the box lies elsewhere


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def save_pair(picture: Path, mask: Path, view: ForeignView) -> None:
    """On white, and a mask."""
    save(picture, on_white(view.picture))
    save(mask, view.picture[..., 3])


def write_co3d(room: Path, views: Views, *, form: str = "ndc_norm_image_bounds", border: int = 8) -> Path:
    """A category of one sequence; pictures are wider than high by twice the border."""
    frames = []
    for number, view in enumerate(views):
        picture = np.pad(view.picture, ((0, 0), (border, border), (0, 0)))
        height, width = picture.shape[:2]
        names = [f"chair/110_1/{kind}/frame{number + 1:06d}" for kind in ("images", "masks")]
        save(room / f"{names[0]}.jpg.png", on_white(picture))  # lossless, whatever it is called
        (room / f"{names[0]}.jpg.png").rename(room / f"{names[0]}.jpg")
        save(room / f"{names[1]}.png", picture[..., 3])
        axes = (view.pose @ np.diag([-1.0, 1, -1, 1]))[:3, :3]  # left, up, forward
        unit = np.array([width, height]) / 2 if form == "ndc_norm_image_bounds" else np.full(2, height / 2)
        seen = {"R": axes.tolist(), "T": (-view.pose[:3, 3] @ axes).tolist(), "intrinsics_format": form}
        seen |= {"focal_length": (focal_px(height) / unit).tolist(), "principal_point": [0.0, 0.0]}
        about = {"sequence_name": "110_1", "frame_number": number, "viewpoint": seen, "depth": None}
        image = {"path": f"{names[0]}.jpg", "size": [height, width]}
        frames.append(about | {"image": image, "mask": {"path": f"{names[1]}.png", "mass": 9.0}})
    frames.append({**frames[0], "sequence_name": "222_2"})  # which was not downloaded
    with gzip.open(room / "chair" / "frame_annotations.jgz", "wb") as file:
        file.write(json.dumps(frames).encode())
    return room


def write_mvimgnet(room: Path, views: Views) -> Path:
    write_colmap(room / "7" / "2100cb10", views, binary=True, masks="gone/{}.png")
    (room / "7" / "2100cb10" / "gone").rename(room / "moved")
    (room / "mask" / "7").mkdir(parents=True)
    (room / "moved").rename(room / "mask" / "7" / "2100cb10")
    save(room / "7" / "without" / "images" / "001.jpg", on_white(views[0].picture))
    (room / "mvimgnet_category.txt").write_text("7,stove\n")
    return room


def write_omniobject(room: Path, views: Views) -> Path:
    frames = []
    for number, view in enumerate(views):
        save(room / "anise" / "anise_001" / "render" / "images" / f"r_{number}.png", view.picture)
        frames.append(
            {"file_path": f"r_{number}", "rotation": 0.06, "transform_matrix": view.pose.tolist(), "scale": 1.0}
        )
    document = {"camera_angle_x": np.deg2rad(FOV_DEGREES), "frames": frames}
    (room / "anise" / "anise_001" / "render" / "transforms.json").write_text(json.dumps(document))
    return room


def pinhole(size: int) -> np.ndarray:
    return np.array([[focal_px(size), 0, size / 2], [0, focal_px(size), size / 2], [0, 0, 1]])


def write_dtu(room: Path, views: Views) -> Path:
    """As IDR: projections from a world in which the object's sphere is moved and scaled, numbers of other lengths."""
    arrays = {}
    for number, view in enumerate(views):
        save_pair(room / "scan24" / "image" / f"{number:06d}.png", room / "scan24" / "mask" / f"{number:03d}.png", view)
        sphere = np.diag([SCALE, SCALE, SCALE, 1.0])
        sphere[:3, 3] = SHIFT
        lens = np.eye(4)
        lens[:3, :3] = pinhole(len(view.picture))
        arrays[f"scale_mat_{number}"] = sphere
        arrays[f"world_mat_{number}"] = -2 * lens @ np.linalg.inv(view.pose @ CV) @ np.linalg.inv(sphere)
    np.savez(room / "scan24" / "cameras_sphere.npz", **arrays)
    return room


def write_nmr(room: Path, views: Views) -> Path:
    """As DVR and pixelNeRF have ShapeNet: lenses in halves of the picture, camera_from_world."""
    arrays = {}
    for number, view in enumerate(views):
        thing = room / "02958343" / "a1"
        save_pair(thing / "image" / f"{number:04d}.png", thing / "mask" / f"{number:04d}.png", view)
        focal = focal_px(len(view.picture)) / (len(view.picture) / 2)
        arrays[f"camera_mat_{number}"] = np.diag([focal, focal, 1, 1])
        arrays[f"world_mat_{number}"] = np.linalg.inv(view.pose @ CV)
    np.savez(room / "02958343" / "a1" / "cameras.npz", **arrays)
    return room


def write_llff(room: Path, views: Views) -> Path:
    """Poses for pictures of four times the size."""
    rows = []
    for number, view in enumerate(views):
        save(room / "fern" / "images_4" / f"image{number:03d}.png", view.picture)
        right, up, backwards, centre = view.pose[:3].T
        size = 4 * len(view.picture)
        columns = np.stack([-up, right, backwards, centre, [size, size, focal_px(size)]], 1)
        rows.append([*columns.ravel(), 1.0, 5.0])
    np.save(room / "fern" / "poses_bounds.npy", np.array(rows))
    return room


def write_gobjaverse(room: Path, views: Views) -> Path:
    for number, view in enumerate(views):
        place = room / "0" / "10010" / "campos_512_v4" / f"{number:05d}"
        save(place / f"{number:05d}.png", view.picture)
        right, down, forward, origin = (view.pose @ CV)[:3].T.tolist()
        fov = np.deg2rad(FOV_DEGREES)
        document = {"max_depth": 5.0, "bbox": [[-0.5] * 3, [0.5] * 3], "origin": origin, "x_fov": fov, "y_fov": fov}
        (place / f"{number:05d}.json").write_text(json.dumps({**document, "x": right, "y": down, "z": forward}))
    return room


def write_polycam(room: Path, views: Views) -> Path:
    for number, view in enumerate(views):
        inner, size = room / "capture" / "keyframes", len(view.picture)
        save(inner / "images" / f"{1700 + number}.png", view.picture)
        (inner / "cameras").mkdir(exist_ok=True)
        document = {f"t_{row}{column}": view.pose[row, column] for row in range(3) for column in range(4)}
        lens = {"fx": focal_px(size), "fy": focal_px(size), "cx": size / 2, "cy": size / 2}
        document |= lens | {"width": size, "height": size, "blur_score": 90.0, "timestamp": 1700 + number}
        (inner / "cameras" / f"{1700 + number}.json").write_text(json.dumps(document))
    return room


def write_record3d(room: Path, views: Views) -> Path:
    poses, size = [], len(views[0].picture)
    for number, view in enumerate(views):
        save(room / "capture" / "rgbd" / f"{number}.png", view.picture)
        poses.append([*Rotation.from_matrix(view.pose[:3, :3]).as_quat(), *view.pose[:3, 3]])
    lens = pinhole(size).T.ravel().tolist()
    document = {"K": lens, "w": size, "h": size, "fps": 30, "poses": poses}
    (room / "capture" / "metadata").write_text(json.dumps(document, default=float))
    return room


def write_realitycapture(room: Path, views: Views) -> Path:
    lines = ["#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2"]
    for number, view in enumerate(views):
        save(room / "capture" / "photos" / f"IMG_{number}.png", view.picture)
        heading, pitch, roll = Rotation.from_matrix(view.pose[:3, :3]).as_euler("ZXY", degrees=True)
        focal = focal_px(len(view.picture)) * 36 / len(view.picture)
        numbers = [*view.pose[:3, 3], -heading, pitch, roll, focal, *[0.0] * 8]
        lines.append(",".join([f"IMG_{number}.png", *(f"{value:.9f}" for value in numbers)]))
    (room / "capture" / "cameras.csv").write_text("\ufeff" + "\n".join(lines) + "\n")
    return room


def write_metashape(room: Path, views: Views) -> Path:
    """A component's cameras, turned and scaled; the labels lack the suffix."""
    size, turn = len(views[0].picture), Rotation.from_euler("xyz", [20, 30, 40], degrees=True).as_matrix()
    move = np.eye(4)
    move[:3, :3], move[:3, 3] = 2 * turn, [1, 2, 3]
    words = [" ".join(f"{x:.12g}" for x in values.ravel()) for values in (turn, move[:3, 3])]
    cameras = []
    for number, view in enumerate(views):
        save(room / "capture" / "photos" / f"DSC{number}.png", view.picture)
        inner = np.linalg.inv(move) @ view.pose @ CV
        inner[:3, :3] *= 2  # which the component's scale takes out of turns, not of places
        text = " ".join(f"{x:.12g}" for x in inner.ravel())
        cameras.append(
            f'<camera id="{number}" sensor_id="0" component_id="0" label="DSC{number}">'
            f"<transform>{text}</transform></camera>"
        )
    cameras.append('<camera id="99" sensor_id="0" label="not aligned"/>')
    lens = f'<calibration type="frame" class="adjusted"><f>{focal_px(size)}</f><cx>0</cx><cy>0</cy></calibration>'
    (room / "capture" / "cameras.xml").write_text(
        f'<?xml version="1.0" encoding="UTF-8"?>\n<document version="2.0.0"><chunk label="Chunk 1" enabled="true">'
        f'<sensors><sensor id="0" type="frame"><resolution width="{size}" height="{size}"/>{lens}</sensor></sensors>'
        f'<components><component id="0"><transform><rotation locked="false">{words[0]}</rotation>'
        f"<translation>{words[1]}</translation><scale>2</scale></transform></component></components>"
        f"<cameras>{''.join(cameras)}</cameras></chunk></document>"
    )
    return room


def write_abo(room: Path, views: Views) -> Path:
    """JPEG-like masks; lenses for pictures of 512 px; two surroundings, of which the second is not downloaded."""
    entries = []
    for number, view in enumerate(views):
        thing = room / "B07B4GVN1Q"
        picture, mask = (thing / f"{place}_{number}.png" for place in ("render/0/render", "segmentation/segmentation"))
        save_pair(picture, mask, view)
        entries.append({"K": pinhole(512).ravel().tolist(), "pose": view.pose.ravel().tolist()})
    (room / "B07B4GVN1Q" / "metadata.json").write_text(json.dumps({"views": entries}))
    return room


# what other software writes, the reader's name, and the object's
SETS: dict[str, tuple[Callable[[Path, Views], Path], str, str]] = {
    "co3d": (write_co3d, "co3d", "chair.110_1"),
    "mvimgnet": (write_mvimgnet, "mvimgnet", "7.2100cb10"),
    "omniobject3d": (write_omniobject, "omniobject3d", "anise.anise_001"),
    "dtu": (write_dtu, "dtu", "scan24"),
    "nmr": (write_nmr, "dtu", "02958343.a1"),
    "llff": (write_llff, "llff", "fern"),
    "abo": (write_abo, "abo", "B07B4GVN1Q"),
    "gobjaverse": (write_gobjaverse, "gobjaverse", "0.10010"),
    "polycam": (write_polycam, "polycam", "capture"),
    "record3d": (write_record3d, "record3d", "capture"),
    "realitycapture": (write_realitycapture, "realitycapture", "capture"),
    "metashape": (write_metashape, "metashape", "capture"),
}

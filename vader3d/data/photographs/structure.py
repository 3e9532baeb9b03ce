"""Structure from motion by pycolmap, in a process of its own.

`python -m vader3d.data.photographs.structure ROOM OPTIONS`: pycolmap and other packages bring libraries that do not
agree, and it may crash: nothing else is imported in that process, and it costs one object only.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FEATURES = 4096
INLIERS = 50, 20  # matches of the first pair, and of every further picture
LONGEST_SECONDS = 3600.0
TAIL = 200  # letters of what a dead process said


@dataclass(frozen=True)
class Motion:
    """What is asked: whether masks hide the background, a focal length in px (0: unknown), one lens for all."""

    masked: bool = False
    focal: float = 0.0
    one_lens: bool = True
    threads: int = 1


def check_pycolmap() -> None:
    """ImportError, which says what to install, where it is not here."""
    if importlib.util.find_spec("pycolmap") is None:
        raise ImportError("pycolmap: wanted for photographs without cameras; got none; pip install 'vader3d[photos]'")


def reconstruct(room: Path, motion: Motion) -> dict[str, float]:
    """Poses of room/images as a COLMAP model in room/sparse/0; how many registered, and the mean error in px.

    ImportError: no pycolmap. ValueError: no model, or the process died.
    """
    check_pycolmap()
    shutil.rmtree(room / "sparse", ignore_errors=True)
    command = [sys.executable, "-m", __name__, str(room), json.dumps(asdict(motion))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"cameras: wanted within {LONGEST_SECONDS:g} s; got no end; take fewer pictures") from error
    finally:
        for left in room.glob("features.db*"):
            left.unlink()
    if done.returncode:
        said = " ".join(done.stderr.split())[-TAIL:]
        raise ValueError(f"cameras: wanted structure from motion; got exit code {done.returncode} ({said})")
    result = json.loads(done.stdout.splitlines()[-1])
    if not result["registered"]:
        raise ValueError(
            "cameras: wanted pictures that overlap; got none that match; take more, of a textured table, all sharp"
        )
    return result


def main(room: Path, options: dict[str, Any]) -> None:
    """The process: features, all pairs matched, the largest model written, its numbers printed as JSON."""
    import pycolmap

    pycolmap.set_random_seed(0)
    database, images, motion = room / "features.db", room / "images", Motion(**options)
    reader, extraction = pycolmap.ImageReaderOptions(), pycolmap.FeatureExtractionOptions()
    matching, mapping = pycolmap.FeatureMatchingOptions(), pycolmap.IncrementalPipelineOptions()
    if motion.masked:
        reader.mask_path = room / "masks"
    extraction.sift.max_num_features = FEATURES
    for each in (extraction, matching):
        each.num_threads, each.use_gpu = motion.threads, False
    mode = pycolmap.CameraMode.SINGLE if motion.one_lens else pycolmap.CameraMode.PER_IMAGE
    if motion.focal and motion.one_lens:
        width, height = size_of(next(iter(sorted(images.iterdir()))), pycolmap)
        reader.camera_params = f"{motion.focal},{width / 2},{height / 2},0"
    pycolmap.extract_features(database, images, camera_mode=mode, reader_options=reader, extraction_options=extraction)
    pycolmap.match_exhaustive(database, matching_options=matching)
    mapping.min_model_size, mapping.max_num_models = 3, 3
    mapping.mapper.init_min_num_inliers, mapping.mapper.abs_pose_min_num_inliers = INLIERS  # frames are small
    mapping.num_threads = 1  # the same pictures give the same cameras
    mapping.random_seed = mapping.mapper.random_seed = mapping.triangulation.random_seed = 0
    models = pycolmap.incremental_mapping(database, images, room / "sparse", options=mapping)
    shutil.rmtree(room / "sparse", ignore_errors=True)
    best = max(models.values(), key=lambda model: model.num_reg_images(), default=None)
    if best is not None:
        (room / "sparse" / "0").mkdir(parents=True)
        best.write(room / "sparse" / "0")
    print(
        json.dumps(
            {
                "registered": best.num_reg_images() if best else 0,
                "error_px": best.compute_mean_reprojection_error() if best else 0.0,
                "points": best.num_points3D() if best else 0,
            }
        )
    )


def size_of(path: Path, pycolmap: Any) -> tuple[int, int]:
    picture = pycolmap.Bitmap.read(str(path), as_rgb=False)
    return picture.width, picture.height


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))

"""Where the parts of moving subjects are in each picture."""

from pathlib import Path

from torch import Tensor

from vader3d.snapshots import load_snapshot
from vader3d.untrusted import reading

KIND = "truth"


def beside(archive: Path) -> Path:
    """The file that `vader3d prepare heads` writes beside an archive."""
    return archive.with_name(f"{archive.name}.truth.safetensors")


def read_part_poses(path: Path) -> tuple[Tensor, tuple[str, ...]]:
    """Poses [N, F, K, 3, 4] of K parts in F pictures of N objects, from rest to the camera; the parts' names.

    A snapshot (`vader3d.snapshots.save_snapshot`) of kind `truth`: tensor `poses`, and `parts` in its header.
    ValueError: no such file, or another.
    """
    tensors, header = load_snapshot(path, KIND)
    with reading(path, "part poses"):
        poses, names = tensors["poses"].float(), tuple(map(str, header["parts"]))
        if poses.dim() != 5 or poses.shape[2:] != (len(names), 3, 4) or not poses.isfinite().all():
            raise ValueError(f"poses: wanted finite [N, F, {len(names)}, 3, 4]; got {list(poses.shape)}")
    return poses, names

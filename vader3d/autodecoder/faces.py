"""Where heads and shoulders are, roughly, by landmarks of faces."""

import torch
from torch import Tensor

from vader3d.data.archive.format import ArchiveError
from vader3d.data.dataset import DataSet
from vader3d.data.making.busts import PARTS
from vader3d.data.motion import composed
from vader3d.data.part_poses import KIND, read_part_poses
from vader3d.files import cache_folder
from vader3d.frozen.people import faces_in
from vader3d.geometry.cameras import DISTANCE, front_camera
from vader3d.geometry.rotations import nearest_rotation
from vader3d.geometry.skinning import inverse
from vader3d.progress import console, track
from vader3d.snapshots import save_snapshot

EDITION = 1  # rises whenever the same pictures give other poses
ROUNDS, MOST_FACES = 10, 4096  # by which the mean face is found
LEAST_CLIPS = 0.5  # share that must show a face


def detected_poses(data: DataSet) -> tuple[Tensor, tuple[str, ...]]:
    """Poses [N, F, 2, 3, 4] of head and torso, from rest to the camera, in the pictures of N clips; the parts' names.

    Found once for a data set, and kept in the cache. A picture without a face takes its clip's nearest pose; a clip
    without any stands still, and is counted. ValueError: faces in less than half of the clips. ImportError: no package.
    """
    path = cache_folder() / f"faces-{EDITION}-{data.fingerprint[:32]}.safetensors"
    if not path.is_file():
        save_snapshot(path, {"poses": poses_of(data)}, {"kind": KIND, "parts": PARTS})
    return read_part_poses(path)


def poses_of(data: DataSet) -> Tensor:
    """`detected_poses`, found anew."""
    most = max(record.views for record in data.records)
    clips, faces, intrinsics = [], [], []
    missed, pictures = 0, 0
    for number in track(range(len(data)), "faces", total=len(data)):
        try:
            views = data.read(number)
        except ArchiveError:
            continue
        seen = torch.from_numpy(faces_in(views.pictures)).float()
        there = seen.isfinite().all(-1).all(-1).nonzero()[:, 0]
        missed, pictures = missed + len(seen) - len(there), pictures + len(seen)
        if len(there):
            nearest = (torch.arange(most)[:, None] - there).abs().argmin(1)
            clips.append(number)
            faces.append(seen[there[nearest]])
            intrinsics.append(views.cameras.intrinsics[there[nearest]])
    found = f"a face in {pictures - missed} of {pictures} pictures, in {len(clips)} of {len(data)} clips"
    if len(clips) < LEAST_CLIPS * len(data):
        raise ValueError(f"parts.poses=detector: wanted pictures of people's faces; got {found}; give a file of poses")
    console.print(f"start of poses: {found}")
    poses = inverse(front_camera(1).world_from_camera[0, :3]).repeat(len(data), most, 2, 1, 1)
    poses[clips] = head_and_torso(torch.stack(faces), torch.stack(intrinsics))
    return poses


def head_and_torso(faces: Tensor, intrinsics: Tensor) -> Tensor:
    """Poses [N, F, 2, 3, 4] by landmarks [N, F, L, 3], in pixels, of faces before cameras with intrinsics [N, F, 4].

    A head turns as its landmarks turn from the mean face, about a place as far behind them as they reach; it stays as
    far from the camera as the middle of the world, for larger faces and nearer ones look alike. Nothing is known of how
    the torso turns: it hangs from the head where the chin is.
    """
    middle = faces.mean(2, keepdim=True)
    reach = (faces - middle).square().sum(-1).mean(-1).sqrt()  # [N, F]
    turns, mean = from_mean_face((faces - middle) / reach[..., None, None])
    focal, centre = intrinsics.split(2, -1)
    size = DISTANCE * (reach / focal[..., 0]).median()  # of faces in the world
    places = torch.cat([(middle[:, :, 0, :2] - centre) / focal, torch.ones_like(reach)[..., None]], -1)
    places = DISTANCE * places + size * turns[..., 2]
    places = DISTANCE * places / places[..., 2:]
    home = places.mean((0, 1))
    chin = torch.stack([home.new_zeros(()), size * mean[:, 1].max(), home.new_zeros(())])
    hung = places + turns @ chin
    head = torch.cat([turns, (places - turns @ home)[..., None]], -1)
    still = torch.eye(3).to(turns).expand_as(turns)
    torso = torch.cat([still, (hung - home - chin)[..., None]], -1)
    rest = inverse(front_camera(1).world_from_camera[0, :3])
    return composed(torch.stack([head, torso], 2), rest)


def from_mean_face(forms: Tensor) -> tuple[Tensor, Tensor]:
    """How far faces [N, F, L, 3] are turned from their mean, [N, F, 3, 3], and that [L, 3]: generalised Procrustes."""
    some = forms.flatten(0, 1)[:: -(-forms.shape[0] * forms.shape[1] // MOST_FACES)]
    mean = some[0]
    for _ in range(ROUNDS):
        turns = nearest_rotation(some.mT @ mean)
        mean = (some @ turns).mean(0)
    turns = nearest_rotation(forms.mT @ mean)
    front = nearest_rotation(turns.mean((0, 1)))
    return turns @ front.mT, mean @ front.mT

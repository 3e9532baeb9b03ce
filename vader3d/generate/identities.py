"""One object of a model: a new one, or one that it learned."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from vader3d.assets import Asset
from vader3d.autodecoder.parts import PartPoses
from vader3d.data.motion import Motion, read_motion
from vader3d.data.photographs.frames import CLIPS
from vader3d.export.surface import SurfaceConfig
from vader3d.generate.generator import Opened, opened
from vader3d.generate.recipes import recipes_for
from vader3d.generate.reconstruct import CLIP, MOTION, Fitting, check_clip, kept_clip, object_of
from vader3d.geometry.cameras import front_camera
from vader3d.hub import model_folder
from vader3d.text.captions import OBJECTS, read_objects


def check_chosen(seed: int | None, identity: str, subject: Path | None = None) -> None:
    """ValueError: more than one is given."""
    given = {"seed": seed is not None, "identity": bool(identity), "reconstruct": subject is not None}
    if sum(given.values()) > 1:
        names = " and ".join(f"--{name}" for name, is_given in given.items() if is_given)
        raise ValueError(f"identity: wanted one of --seed, --identity and --reconstruct; got {names}")


def object_in(folder: Path, known: Opened, *, seed: int | None, identity: str) -> Asset:
    """Of an open model the object that stage 2 draws of a seed (0: neither is given), or the one learned as `identity`.

    ValueError: there is no such object, or a seed for a model of stage 1 alone.
    """
    generator = known.generator
    if not identity:
        generator.denoiser  # noqa: B018 (says where there is none)
        (asset,) = generator.draw(recipes_for(None, count=1, seed=seed or 0))
        return asset
    number = number_of(identity, folder, len(known.codes))
    with torch.no_grad():
        code = known.codes(torch.tensor([number]))
    volume = generator.decode(generator.to_latent(code))
    return Asset(volume, generator.settings, identity, {**generator.checksums, "identity": number})


class Driven(NamedTuple):
    """An object, its motion, the pictures uint8 [F, H, W, 4] of a clip that drives it, and folders of `kept_clip`."""

    asset: Asset
    motion: Motion
    seen: np.ndarray | None
    found: dict[str, Path]


def driven(
    model: str,
    driving: str,
    output: Path,
    *,
    seed: int | None = None,
    identity: str = "",
    subject: Path | None = None,
    fitting: Fitting,
    surface: SurfaceConfig | None = None,
    device: str = "auto",
) -> Driven:
    """An object as `object_in` gives it, or a clip's subject, and a motion, seen from in front.

    driving: a .json file; a clip or folder of frames; the name or number of a clip that the model learned; "": the
    subject's own clip. What is found of clips is kept in the folder of `output` (`kept_clip`). ValueError: none of
    these, or one that cannot be used.
    """
    check_chosen(seed, identity, subject)
    if not driving and subject is None:
        raise ValueError("driving: wanted a motion in JSON, a clip, or a learned clip's name; got none")
    clips = {} if subject is None else {"reconstruct": subject}
    path = Path(driving)
    is_motion, is_clip = path.suffix.lower() == ".json", path.suffix.lower() in CLIPS
    if is_motion and not path.exists():
        raise ValueError(f"driving: wanted a motion in JSON; got {path}, which does not exist")
    motion = read_motion(path) if is_motion else None
    if driving and not is_motion and (is_clip or path.exists()):
        clips["driving"] = path
    folder = model_folder(model)
    for argument, clip in clips.items():
        if len(names := check_clip(folder, clip, argument)) > 1:
            raise ValueError(f"{argument}: wanted one clip; got {len(names)} in {clip}, such as {names[0]}")
        if clip.resolve() in (output.resolve(), *output.resolve().parents):
            raise ValueError(f"output: wanted another place than --{argument}'s; got {output}")
    known = opened(folder, device=device)
    if driving and not is_motion and "driving" not in clips:
        motion = clip_motion(folder, known.parts, driving, known.config.parts.names)
    asset = None if subject else object_in(folder, known, seed=seed, identity=identity)
    beside = output.parent
    found = {
        argument: kept_clip(folder, clip, beside, fitting=fitting, surface=surface, device=device, argument=argument)
        for argument, clip in clips.items()
    }
    if asset is None:
        own = found["reconstruct"]
        asset = object_in(own, opened(own, device=device), seed=None, identity=names_of(own, 1)[0])
    if motion is not None:
        return Driven(asset, motion, None, found)
    driver = found.get("driving") or found["reconstruct"]
    return Driven(asset, read_motion(driver / MOTION), object_of(driver / CLIP, "", 0)[1].pictures, found)


def clip_motion(folder: Path, parts: PartPoses | None, clip: str, names: tuple[str, ...]) -> Motion:
    """How a clip moves that a model learned, by its name or number; ValueError: it learned none, or no such.

    names: the parts'.
    """
    if parts is None:
        raise ValueError(
            f"driving: wanted a motion in JSON (docs/animation.md), for the model learned no clips; got {clip}"
        )
    number = number_of(clip, folder, len(parts.start) // parts.pictures, what="driving")
    return parts.motion(number, names, front_camera(1).world_from_camera[0])


def names_of(folder: Path, objects: int) -> list[str]:
    """The names of the training objects, as stage 1 notes them; none where it noted none, or others'."""
    path = next(
        (each / OBJECTS for each in (folder, folder.parent / "autodecoder") if (each / OBJECTS).is_file()), None
    )
    names = [each.name for each in read_objects(path)] if path else []
    return names if len(names) == objects else []


def number_of(identity: str, folder: Path, objects: int, *, what: str = "identity") -> int:
    """The number of a training object by its name, as stage 1 notes them in its run's folder, or by that number."""
    names = names_of(folder, objects)
    if identity in names:
        return names.index(identity)
    if identity.isdecimal() and int(identity) < objects:
        return int(identity)
    near = f", such as {', '.join(names[:3])}" if names else ""
    raise ValueError(
        f"{what}: wanted a number below {objects} or the name of a training object{near}; got {identity!r}"
    )

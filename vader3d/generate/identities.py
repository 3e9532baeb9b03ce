"""One object of a model: a new one, or one that it learned."""

from pathlib import Path

import torch

from vader3d.assets import Asset
from vader3d.autodecoder.parts import PartPoses
from vader3d.data.motion import Motion, read_motion
from vader3d.generate.animate import front_camera
from vader3d.generate.generator import Opened, opened
from vader3d.generate.recipes import recipes_for
from vader3d.hub import model_folder
from vader3d.text.captions import OBJECTS, read_objects


def check_chosen(seed: int | None, identity: str) -> None:
    """ValueError: both are given."""
    if identity and seed is not None:
        raise ValueError(f"identity: wanted it or a seed; got {identity!r} and {seed}")


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


def driven(
    model: str, driving: str, *, seed: int | None = None, identity: str = "", device: str = "auto"
) -> tuple[Asset, Motion]:
    """An object as `object_in` gives it, and a motion: a file's, or a learned clip's, seen from in front.

    driving: a .json file, or the name or number of such a clip. ValueError: neither; a file that is something else.
    OSError: no such file.
    """
    check_chosen(seed, identity)
    motion = read_motion(Path(driving)) if driving.lower().endswith(".json") else None
    if motion is None and Path(driving).exists():
        raise ValueError(
            f"driving: wanted a motion in JSON or a learned clip's name; got {driving}; "
            "`vader3d reconstruct --video` makes motion.json of a clip"
        )
    folder = model_folder(model)
    known = opened(folder, device=device)
    if motion is None:
        motion = clip_motion(folder, known.parts, driving, known.config.parts.names)
    return object_in(folder, known, seed=seed, identity=identity), motion


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

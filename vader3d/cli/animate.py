"""`vader3d animate`."""

from pathlib import Path
from typing import Literal

from vader3d.cli.parsing import checked


@checked
def animate_command(
    *,
    output: Path,
    driving: str = "",
    model: str = "",
    seed: int | None = None,
    identity: str = "",
    reconstruct: Path | None = None,
    relative: bool = False,
    yaw_sweep: bool = False,
    size: int = 128,
    masks: str = "auto",
    largest: bool = False,
    clip_size: int = 64,
    steps: int = 300,
    fine_steps: int = 100,
    faces: int | None = None,
    colour: Literal["texture", "vertex"] | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """An object whose parts a motion moves: a film with novel views, depth and normals, or a skinned, animated mesh.

    What the model finds in a clip is kept beside OUTPUT, in CLIP.DIGITS.found, as `vader3d reconstruct --video` makes
    it: the same clip is fitted once, for whomever it drives.

    Args:
        output: film.mp4, or mesh.glb with a joint for each part, skin weights and the motion.
        driving: A clip, or a folder of its frames; a motion in JSON (docs/animation.md); or the name or number of a
            clip that the model learned. Default: the clip of --reconstruct.
        model: A run folder of either stage, a saved model, or OWNER/NAME of a hub, whose objects have parts.
        seed: A new object of stage 2, as `vader3d generate` draws it. Default: 0, unless another is chosen.
        identity: An object of the training data instead, by its name or number.
        reconstruct: A stranger instead: the subject of a clip, or of a folder of its frames.
        relative: Only the motion from the first frame on: that frame is the object at rest.
        yaw_sweep: In the film one view that swings from side to side, instead of one from either side.
        size: Of each picture of the film, px a side.
        masks: Of a clip: how its subject is told from the background, as of `prepare video`.
        largest: Of several subjects in a clip take the largest; else it is refused.
        clip_size: Of a clip's pictures, px a side, as they are compared with the model's.
        steps: Of a clip: in which the code alone learns, as of `reconstruct`.
        fine_steps: Of a clip: in which the decoder learns, too.
        faces: Of the mesh, at most so many triangles.
        colour: Of the mesh: a texture or a colour for each vertex; default: of vertices, as the pictures have them.
        device: auto takes a GPU where there is one.
    """
    from vader3d.autodecoder.reconstruct import ReconstructConfig
    from vader3d.files import held
    from vader3d.generate.animate import FilmConfig, check_end, check_parts, moving_surface, save_animation
    from vader3d.generate.identities import driven
    from vader3d.generate.reconstruct import REPORT, Fitting
    from vader3d.untrusted import read_json

    check_end(output)
    film = FilmConfig(size, yaw_sweep)
    surface = moving_surface(faces=faces, colour=colour)
    fitting = Fitting(clip_size, masks, largest, ReconstructConfig(steps=steps, fine_steps=fine_steps))
    asset, motion, seen, found = driven(
        model,
        driving,
        output,
        seed=seed,
        identity=identity,
        subject=reconstruct,
        fitting=fitting,
        surface=surface,
        device=device,
    )
    motion = motion.relative() if relative else motion
    check_parts(asset, motion)
    with held(output.parent, output.name):
        alike = save_animation(asset, motion, output, film=film, surface=surface, seen=seen)
    for folder in found.values():
        near = read_json(folder / REPORT)["foreground_psnr"]["fine"]
        print(f"{folder}: the clip's subject and motion, {near:.1f} dB inside the mask; delete it to find them anew")
    seconds = len(motion.poses) / motion.frames_per_second
    print(f"{output}: {asset.name}, {len(motion.poses)} frames, {seconds:.1f} s, parts {', '.join(motion.names)}")
    if alike is not None:
        print(f"the mesh's frames are {alike:.1f} dB from the volume's own, inside the mask")

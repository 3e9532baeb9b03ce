"""`vader3d animate`."""

from pathlib import Path
from typing import Literal

from vader3d.cli.parsing import checked


@checked
def animate_command(
    *,
    driving: str,
    output: Path,
    model: str = "",
    seed: int | None = None,
    identity: str = "",
    relative: bool = False,
    yaw_sweep: bool = False,
    size: int = 128,
    faces: int | None = None,
    colour: Literal["texture", "vertex"] | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """An object whose parts a motion moves: a film with novel views, depth and normals, or a skinned, animated mesh.

    Args:
        driving: A motion in JSON (docs/animation.md), or the name or number of a clip that the model learned.
        output: film.mp4, or mesh.glb with a joint for each part, skin weights and the motion, 24 frames a second.
        model: A run folder of either stage, a saved model, or OWNER/NAME of a hub, whose objects have parts.
        seed: A new object of stage 2, as `vader3d generate` draws it. Default: 0, unless an identity is named.
        identity: An object of the training data instead, by its name or number.
        relative: Only the motion from the first frame on: that frame is the object at rest.
        yaw_sweep: In the film one view that swings from side to side, instead of one from either side.
        size: Of each picture of the film, px a side.
        faces: Of the mesh, at most so many triangles.
        colour: Of the mesh: a texture, or a colour for each vertex; default: a texture where its packages are here.
        device: auto takes a GPU where there is one.
    """
    from vader3d.export.surface import surface_for
    from vader3d.files import held
    from vader3d.generate.animate import FilmConfig, check_end, check_parts, save_animation
    from vader3d.generate.identities import driven

    check_end(output)
    film = FilmConfig(size, yaw_sweep)
    surface = surface_for(None, faces=faces, colour=colour)
    asset, motion = driven(model, driving, seed=seed, identity=identity, device=device)
    motion = motion.relative() if relative else motion
    check_parts(asset, motion)
    with held(output.parent, output.name):
        alike = save_animation(asset, motion, output, film=film, surface=surface)
    seconds = len(motion.poses) / motion.frames_per_second
    print(f"{output}: {asset.name}, {len(motion.poses)} frames, {seconds:.1f} s, parts {', '.join(motion.names)}")
    if alike is not None:
        print(f"the mesh's frames are {alike:.1f} dB from the volume's own, inside the mask")

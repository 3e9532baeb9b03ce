"""`vader3d reconstruct`."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from vader3d.cli.parsing import checked


@checked
def reconstruct_command(
    *,
    output: Path,
    data: str = "",
    video: Path | None = None,
    masks: str = "auto",
    largest: bool = False,
    model: str = "",
    name: Annotated[str, tyro.conf.arg(name="object")] = "",
    steps: int = 300,
    fine_steps: int = 100,
    size: int = 64,
    seed: int = 0,
    faces: int | None = None,
    colour: Literal["texture", "vertex"] | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """A new object from its posed pictures, by a model that knows others: its code first, then the decoder, gently.

    Args:
        output: Folder for the mesh, a turntable, pictures beside the true ones, report.json, and the model of this one
            object, which other commands take; of a clip also motion.json, which `animate` is driven by.
        data: An archive or shards, or a folder with transforms.json of nerfstudio. Every sixth picture is held out.
        video: A clip instead, or a folder of its frames, for a model of parts; it is prepared in OUTPUT/clip.zip.
        masks: How its subject is told from the background: as of `prepare video`.
        largest: Of several subjects in a clip take the largest; else it is refused.
        model: A run folder of either stage, a saved model, or OWNER/NAME of a hub; default: one that ships.
        name: Which object of the data, where there are several.
        steps: In which the code alone learns.
        fine_steps: In which the decoder learns, too.
        size: Pixels a side that nerfstudio's pictures are read at.
        seed: Of views, pixels and noise.
        faces: Of the mesh, at most so many triangles.
        colour: Of the mesh: a texture, or a colour for each vertex; default: a texture where its packages are here.
        device: auto takes a GPU where there is one.
    """
    from vader3d.autodecoder.reconstruct import ReconstructConfig
    from vader3d.export.surface import surface_for
    from vader3d.generate.reconstruct import Fitting, reconstruct_clip, reconstruct_object

    if bool(data) == (video is not None):
        raise ValueError(f"data: wanted it or --video; got {'both' if data else 'neither'}")
    how = ReconstructConfig(steps=steps, fine_steps=fine_steps, seed=seed)
    surface = surface_for(None, faces=faces, colour=colour)
    if video is not None:
        fitting = Fitting(size, masks, largest, how)
        report = reconstruct_clip(model, video, output, name=name, fitting=fitting, surface=surface, device=device)
    else:
        report = reconstruct_object(model, data, output, name=name, size=size, how=how, surface=surface, device=device)
    which = "held-out" if report["held_out"] else "its own (too few to hold any out)"
    print(f"{output}: {report['object']} from {report['views']} views")
    print(f"PSNR in dB of {report['judged']} {which} views:")
    said = {"mean": "the mean object", "nearest": "the nearest known one", "code": "its code", "fine": "fine-tuned"}
    for stage, value in report["psnr"].items():
        print(f"  {said[stage]:22} {value:5.2f}   inside the mask {report['foreground_psnr'][stage]:5.2f}")

"""The `vader3d prepare photos` command."""

from pathlib import Path

from tyro.conf import Positional

from vader3d.cli.parsing import ALONE, WorkOptions, checked


@checked
def prepare_photos_command(
    source: Positional[Path],
    *,
    output: Path,
    size: int = 64,
    views: int | None = None,
    frames: int = 60,
    masks: str = "auto",
    labels: tuple[str, ...] = (),
    download: bool = False,
    device: str = "auto",
    least_registered: float = 0.6,
    most_error: float = 2.0,
    least_explained: float = 0.85,
    quality: int = 100,
    objects_per_shard: int | None = None,
    processes: int = 2,
    work: WorkOptions = ALONE,
    captions: Path | None = None,
    title: str = "",
) -> None:
    """Photographs and clips of objects, cameras unknown: chosen, masked, posed, placed, and reported.

    What is made of each object stays in OUTPUT.photos; open its index.html. The same command again goes on.

    Args:
        source: A folder with a sub-folder of pictures, or a clip, an object; or a folder of one object's pictures.
            Sub-folders with transforms.json or a COLMAP model keep their cameras.
        output: The archive to write; a folder, with --objects-per-shard.
        size: Width and height of the pictures in pixels.
        views: At most so many pictures of each object, evenly chosen; default: all.
        frames: At most so many photographs, or frames of a clip, are looked at: the sharpest of each stretch.
        masks: auto (alpha, else files, else a plain background), alpha, file, plain, white, or a segmentation network:
            of `transformers`, a folder or an id that was downloaded before; or an ONNX file, by path or by
            https://HOST/NAME.onnx#SHA256.
        labels: Which of that network's classes are the object; default: what is in the middle.
        download: Fetch a network that is not here.
        device: Of that network; auto takes a GPU where there is one.
        least_registered: The share of the frames that must get a camera.
        most_error: Mean reprojection error, in pixels, beyond which cameras are not believed.
        least_explained: The share of the silhouettes that one shape must explain.
        quality: 1 to 99: lossy WebP; 100: lossless.
        objects_per_shard: Write shards of so many objects each (as many as make 0.1 to 1 GB); default: one archive.
        processes: How many objects to work on in parallel.
        captions: A .csv, .json or .jsonl file, or a folder of texts: captions by objects' names; they come first.
        title: A name for people.
    """
    from vader3d.data.photographs.objects import REPORT, Photography
    from vader3d.data.photographs.prepare import prepare_photographs
    from vader3d.data.reading.folders import unpacked
    from vader3d.frozen.matting import KINDS, Matting
    from vader3d.machine import chosen_device
    from vader3d.pages.photographs import write_photographs_page
    from vader3d.untrusted import read_json

    rooms = output.with_name(f"{output.name}.photos")
    how = Photography(size, views, frames, least_registered, most_error, least_explained)
    where = "cpu" if masks in KINDS else str(chosen_device(device))
    try:
        with unpacked(source) as place:
            report = prepare_photographs(
                place,
                output,
                how,
                Matting(masks, labels, download, where),
                title=title or output.stem,
                quality=quality,
                objects_per_shard=objects_per_shard,
                processes=processes,
                work=work,
                captions=captions,
            )
        print(report)
    finally:
        if (rooms / REPORT).is_file():
            write_photographs_page(rooms, read_json(rooms / REPORT))

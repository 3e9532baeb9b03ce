"""The `vader3d prepare video` command."""

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from vader3d.cli.parsing import ALONE, WorkOptions, checked


@checked
def prepare_video_command(
    source: Positional[Path],
    *,
    output: Path,
    size: int = 64,
    views: int = 120,
    masks: str = "auto",
    labels: tuple[str, ...] = (),
    download: bool = False,
    device: str = "auto",
    crop: Literal["mask", "face", "frame"] = "mask",
    boxes: Path | None = None,
    smoothing: float = 0.5,
    shots: Literal["longest", "each"] = "longest",
    largest: bool = False,
    trim: float = 0.1,
    least_foreground: float = 0.25,
    least_frames: int = 4,
    least_kilobytes: float = 2.0,
    fov: float = 30.0,
    quality: int = 100,
    objects_per_shard: int | None = None,
    processes: int = 2,
    work: WorkOptions = ALONE,
    captions: Path | None = None,
    title: str = "",
) -> None:
    """Clips of moving subjects, or folders of frames, into a data set without cameras: for learned poses.

    What is made of each clip stays in OUTPUT.videos; open its index.html. The same command again goes on.

    Args:
        source: A folder with clips (mp4, mov, webm, mkv, ...) or folders of frames at any depth, or one of them. Where
            celebvtext_info.json lies in it, its clips are taken.
        output: The archive to write; a folder, with --objects-per-shard.
        size: Width and height of the pictures in pixels.
        views: At most so many frames of each clip, evenly in time.
        masks: auto (alpha, else files, else a plain background), alpha, file, plain, people (extra `people`), or a
            segmentation network of `transformers`, a folder or an id that was downloaded before.
        labels: Which of that network's classes are the subject; default: what is in the middle.
        download: Fetch a network that is not here.
        device: Of that network; auto takes a GPU where there is one.
        crop: The square about the mask, about a face and its shoulders (extra `people`), or all of the frame.
        boxes: A .json file of what to cut out: clips' names with [left, top, right, bottom], as shares of width and
            height, one or a list with one a frame.
        smoothing: Over so many seconds the squares about masks are steadied.
        shots: Of a clip with cuts the longest shot is the object, or each shot is one.
        largest: Keep the largest of several subjects; else such clips are skipped.
        trim: The share of a shot that is dropped at its beginning and at its end.
        least_foreground: The share of a picture that the subject must fill.
        least_frames: Clips with fewer good frames are skipped.
        least_kilobytes: Smaller files are skipped; the paper says 200.
        fov: Degrees that the pictures are taken to be wide.
        quality: 1 to 99: lossy WebP; 100: lossless.
        objects_per_shard: Write shards of so many objects each (as many as make 0.1 to 1 GB); default: one archive.
        processes: How many clips to work on in parallel.
        captions: A .csv, .json or .jsonl file, or a folder of texts: captions by clips' names; they come first.
        title: A name for people.
    """
    from vader3d.data.photographs.objects import REPORT
    from vader3d.data.reading.folders import unpacked
    from vader3d.data.videos.objects import Videography
    from vader3d.data.videos.prepare import prepare_videos
    from vader3d.frozen.matting import KINDS, PEOPLE, Matting, segmenter
    from vader3d.frozen.people import bust_square, networks
    from vader3d.machine import chosen_device
    from vader3d.pages.videos import write_videos_page
    from vader3d.untrusted import read_json

    rooms = output.with_name(f"{output.name}.videos")
    how = Videography(
        size, views, trim, least_foreground, least_frames, least_kilobytes, crop, smoothing, shots, largest, fov
    )
    matting = Matting(masks, labels, download, "cpu" if masks in KINDS else str(chosen_device(device)))
    if masks == PEOPLE or masks not in KINDS:
        segmenter(matting)  # once, before thousands of clips would all say that it is not here
    if crop == "face":
        networks()
    try:
        with unpacked(source) as place:
            report = prepare_videos(
                place,
                output,
                how,
                matting,
                boxes=boxes,
                title=title or output.stem,
                quality=quality,
                objects_per_shard=objects_per_shard,
                processes=processes,
                work=work,
                captions=captions,
                find=bust_square if crop == "face" else None,
            )
        print(report)
    finally:
        if (rooms / REPORT).is_file():
            write_videos_page(rooms, read_json(rooms / REPORT))

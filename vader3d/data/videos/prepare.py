"""Folders of clips into a data set without cameras, with a report."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vader3d.captions import files_of_captions
from vader3d.data.making.conversion import Job, Output, PrepareReport, Work, convert
from vader3d.data.photographs.objects import Matte, all_facts, write_report
from vader3d.data.reading.folders import splits_of
from vader3d.data.videos.clips import Clip, listed_clips
from vader3d.data.videos.objects import SKIPPED, TAKEN, Find, Videography, clips_of_shots, object_of
from vader3d.files import held
from vader3d.untrusted import reason_of

LINES = 12  # of skipped clips that are printed


@dataclass
class VideoReport:
    """What became of each clip: `facts` as in report.json, in order; `prepared` is None where none came through."""

    rooms: Path
    prepared: PrepareReport | None = None
    facts: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [str(replace(self.prepared, skipped=[]))] if self.prepared else []
        skipped = [facts for facts in self.facts if facts["outcome"] == SKIPPED]
        dropped = Counter[str]()
        for facts in self.facts:
            dropped.update({"trimmed": facts.get("trimmed", 0), **facts.get("dropped", {})})
        if told := [f"{count} {what}" for what, count in dropped.most_common() if count]:
            lines.append("frames left out: " + ", ".join(told[:LINES]))
        if skipped:
            lines.append(f"{len(skipped)} of {len(self.facts)} skipped:")
            lines += [f"  {facts['name']}: {facts['reason']}" for facts in skipped[:LINES]]
            lines += [f"  and {len(skipped) - LINES} more"] * (len(skipped) > LINES)
        return "\n".join([*lines, *self.notes, f"report: {self.rooms / 'index.html'}"])


def prepare_videos(
    source: Path,
    output: Path,
    how: Videography,
    matte: Matte,
    *,
    boxes: Path | None = None,
    title: str = "",
    quality: int = 100,
    objects_per_shard: int | None = None,
    processes: int = 2,
    work: Work | None = None,
    captions: Path | None = None,
    find: Find | None = None,
) -> VideoReport:
    """Make the archive `output`, or shards there, of a folder's clips and folders of frames; without cameras.

    What is made of a clip stays in `output`.videos/NAME: the same command again goes on. Clips that cannot be used are
    skipped and named with the reason in report.json there; ValueError when all are. `boxes`: as `listed_clips`; `find`:
    finds faces, for `how.crop`.
    """
    if how.crop == "face" and find is None:
        raise ValueError("crop: wanted `find` for faces (vader3d.frozen.people.bust_square); got none")
    source, rooms = Path(source), output.with_name(f"{output.name}.videos")
    listing = listed_clips(source, boxes, captions if captions and captions.is_dir() else None)
    report = VideoReport(rooms, notes=listing.notes)
    clips = listing.clips
    if how.shots == "each":
        with held(rooms, "shots", wait=True):
            clips, report.facts = split_clips(clips, rooms, how, processes)
    unread = list(report.facts)
    jobs = [Job(clip.name, object_of, (clip, rooms / clip.name, how, matte, find)) for clip in clips]
    names = [clip.name for clip in clips]
    target = Output(
        output,
        title=title or source.resolve().name,
        resolution=(how.size, how.size),
        quality=quality,
        objects_per_shard=objects_per_shard,
    )
    try:
        report.prepared = convert(
            jobs,
            target,
            work=work,
            processes=processes,
            captions=captions,
            beside=() if captions is not None else [*files_of_captions(source), *listing.texts],
            subsets=splits_of([clip.source if source.is_dir() else source for clip in clips], names, source),
        )
    finally:
        report.facts = [*unread, *all_facts(rooms, names, died=SKIPPED)]
        write_report(rooms, summary(report.facts))
    return report


def split_clips(
    clips: Sequence[Clip], rooms: Path, how: Videography, threads: int
) -> tuple[list[Clip], list[dict[str, Any]]]:
    """A clip for each shot, and facts about those that cannot be read."""

    def split(clip: Clip) -> list[Clip] | dict[str, Any]:
        try:
            return clips_of_shots(clip, rooms / clip.name, how)
        except Exception as error:  # whatever a codec raises; one clip must not stop the rest
            return {"name": clip.name, "outcome": SKIPPED, "reason": reason_of(error)}

    with ThreadPoolExecutor(max(1, threads)) as pool:  # decoding leaves Python
        found = list(pool.map(split, clips))
    return [clip for each in found if isinstance(each, list) for clip in each], [
        each for each in found if isinstance(each, dict)
    ]


def summary(facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The report: how many were taken, who was skipped, and all facts."""
    return {
        "clips": len(facts),
        "taken": sum(each["outcome"] == TAKEN for each in facts),
        "skipped": [each["name"] for each in facts if each["outcome"] == SKIPPED],
        "facts": list(facts),
    }

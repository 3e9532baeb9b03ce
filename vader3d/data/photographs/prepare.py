"""Folders of photographs and clips into a data set, with a report."""

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vader3d.data.making.conversion import Job, Output, PrepareReport, Work, convert
from vader3d.data.photographs.frames import CLIPS, photo_files
from vader3d.data.photographs.objects import (
    BROKEN,
    POSED,
    WITHOUT,
    Matte,
    Photography,
    all_facts,
    given_views,
    object_of,
    write_report,
)
from vader3d.data.photographs.structure import check_pycolmap

LINES = 12  # of a kind that are printed


@dataclass
class PhotographReport:
    """What became of each object: `facts` as in report.json, in order; `prepared` is None where none came through."""

    rooms: Path
    prepared: PrepareReport | None = None
    facts: list[dict[str, Any]] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [str(replace(self.prepared, skipped=[]))] if self.prepared else []
        for outcome in (WITHOUT, BROKEN):
            some = [facts for facts in self.facts if facts["outcome"] == outcome]
            if some:
                lines += [f"{len(some)} {outcome}:"]
                lines += [f"  {facts['name']}: {facts['reason']}" for facts in some[:LINES]]
        return "\n".join([*lines, f"report: {self.rooms / 'index.html'}"])


def prepare_photographs(
    source: Path,
    output: Path,
    how: Photography,
    matte: Matte,
    *,
    title: str = "",
    quality: int = 100,
    objects_per_shard: int | None = None,
    processes: int = 2,
    work: Work | None = None,
    captions: Path | None = None,
) -> PhotographReport:
    """Make the archive `output`, or shards there, of a folder's sub-folders and clips, an object each.

    What is made of an object stays in `output`.photos/NAME: the same command again goes on. Objects that cannot be used
    are left out and named with the reason in report.json there; ValueError when all are.
    """
    source, rooms = Path(source), output.with_name(f"{output.name}.photos")
    sources = object_sources(source)
    names = object_names(sources, source)
    if importlib.util.find_spec("pycolmap") is None and any(given_views(each) is None for each in sources):
        check_pycolmap()
    how = replace(how, threads=max(1, (os.cpu_count() or 1) // max(1, min(processes, len(sources)))))
    jobs = [
        Job(name, object_of, (each, name, rooms / name, how, matte)) for each, name in zip(sources, names, strict=True)
    ]
    report = PhotographReport(rooms)
    target = Output(
        output,
        title=title or source.resolve().name,
        resolution=(how.size, how.size),
        quality=quality,
        objects_per_shard=objects_per_shard,
    )
    try:
        report.prepared = convert(jobs, target, work=work, processes=processes, captions=captions)
    finally:
        report.facts = all_facts(rooms, names, died=BROKEN)
        write_report(rooms, summary(report.facts))
    return report


def object_sources(source: Path) -> list[Path]:
    """The folders with photographs and the clips of a folder, sorted; itself, if it is one object's.

    A folder with nothing but one clip is that clip. ValueError: there is none.
    """
    if not source.is_dir():
        raise ValueError(f"source: wanted a folder with a sub-folder or clip an object; got {source}")
    entries = sorted(path for path in source.iterdir() if path.name[0] != "." and not path.name.endswith(".photos"))
    photos, found = {path.stem for path in photo_files(source)}, []
    for entry in entries:
        if entry.is_dir():
            clips = sorted(path for path in entry.iterdir() if path.suffix.lower() in CLIPS and path.name[0] != ".")
            if len(clips) == 1 and not photo_files(entry):
                found.append(clips[0])
            elif photo_files(entry):
                found.append(entry)
        elif entry.suffix.lower() == ".mov" and entry.stem in photos:
            continue  # what moves of a live photograph
        elif entry.suffix.lower() in CLIPS:
            found.append(entry)
    if photos and not any(each.is_file() for each in found):
        return [source]
    if not found:
        raise ValueError(f"source: wanted sub-folders of photographs, or clips, in {source}; got none")
    return found


def object_names(sources: Sequence[Path], source: Path) -> list[str]:
    """The folders' names, also of a folder's only clip; the clips' names, with the suffix where two are alike."""
    places = [each.parent if each.is_file() and each.parent != source else each for each in sources]
    names = [place.resolve().name if place.is_dir() else place.stem for place in places]
    return [place.name if names.count(name) > 1 else name for place, name in zip(places, names, strict=True)]


def summary(facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The report: how many of each outcome, who is without cameras, and all facts."""
    outcomes = [each["outcome"] for each in facts]
    return {
        "objects": len(facts),
        "posed": outcomes.count(POSED),
        "without_cameras": [each["name"] for each in facts if each["outcome"] == WITHOUT],
        "broken": [each["name"] for each in facts if each["outcome"] not in (POSED, WITHOUT)],
        "facts": list(facts),
    }

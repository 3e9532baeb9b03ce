"""Several data sets as one."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vader3d.data.dataset import DataSet, none_readable
from vader3d.data.making.conversion import Output, PrepareReport, check_output
from vader3d.progress import track


def join(
    parts: Sequence[DataSet], output: Path, *, objects_per_shard: int | None = None, title: str = ""
) -> PrepareReport:
    """All objects of `parts`, in order, in the archive or shards `output`; each part becomes a subset of its name.

    Pictures stay as they are, to the byte from archive to archive. Names that several parts have get their part's name
    in front. What cannot be read is left out and reported. ValueError: fewer than two parts, or pictures of two sizes.
    """
    started = time.monotonic()
    if len(parts) < 2:
        raise ValueError(f"data: wanted at least 2 data sets to join; got {len(parts)}")
    if len(sizes := {part.resolution for part in parts}) > 1:
        said = ", ".join(f"{part.path}: {part.resolution[1]}x{part.resolution[0]}" for part in parts)
        raise ValueError(f"data: wanted pictures of one size; got {len(sizes)} ({said}); prepare them alike: --size")
    for part in parts:
        check_output(output, part)
    names = part_names(parts)
    owners = Counter(record.name for part in parts for record in part.records)
    report, subsets = PrepareReport(output), dict[str, list[int]]()
    title = title or " and ".join(part.title for part in parts)
    target = Output(output, title=title, resolution=parts[0].resolution, objects_per_shard=objects_per_shard)
    with target.open() as writer:
        numbered = [(number, index) for number, part in enumerate(parts) for index in range(len(part))]
        for number, index in track(numbered, output.name, total=len(numbered)):
            part, name = parts[number], names[number]
            try:
                record = part.records[index]
                record = replace(record, name=f"{name}-{record.name}") if owners[record.name] > 1 else record
                subsets.setdefault(name, []).append(writer.copy(part, index, record))
            except ValueError as error:
                report.skipped.append(str(error))
        if not writer.records:
            raise none_readable(parts[0], report.skipped)
        writer.set_subsets(subsets)
    report.objects, report.seconds = len(writer.records), time.monotonic() - started
    report.megabytes = writer.bytes / 1e6
    return report


def part_names(parts: Sequence[DataSet]) -> list[str]:
    """Of each part the name of its file or folder, without its ending; numbered where two are alike."""
    stems = [Path(str(part.path)).stem for part in parts]
    return [stem if stems.count(stem) == 1 else f"{stem}-{number}" for number, stem in enumerate(stems)]

"""Several data sets as one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vader3d.data.dataset import DataSet
from vader3d.data.making.conversion import Job, Output, PrepareReport, Work, check_output, convert
from vader3d.data.making.copying import copy_job, originals


def join(
    parts: Sequence[DataSet],
    output: Path,
    *,
    objects_per_shard: int | None = None,
    title: str = "",
    processes: int = 1,
    work: Work | None = None,
) -> PrepareReport:
    """All objects of `parts`, in order, in the archive or shards `output`; each part becomes a subset of its name.

    Pictures stay as they are, to the byte from archive to archive. Names that several parts have get their part's name
    in front. What cannot be read is left out and reported. ValueError: fewer than two parts, or pictures of two sizes.
    """
    if len(parts) < 2:
        raise ValueError(f"data: wanted at least 2 data sets to join; got {len(parts)}")
    if len(sizes := {part.resolution for part in parts}) > 1:
        said = ", ".join(f"{part.path}: {part.resolution[1]}x{part.resolution[0]}" for part in parts)
        raise ValueError(f"data: wanted pictures of one size; got {len(sizes)} ({said}); prepare them alike: --size")
    for part in parts:
        check_output(output, part)
    title = title or " and ".join(part.title for part in parts)
    target = Output(Path(output), title, parts[0].resolution, objects_per_shard=objects_per_shard)
    found = [(name, *each) for name, part in zip(part_names(parts), parts, strict=True) for each in originals(part)]
    owners = Counter(record.name for _, _, record in found)
    jobs, subsets = list[Job](), dict[str, list[str]]()
    for subset, original, record in found:
        name = f"{subset}-{record.name}" if owners[record.name] > 1 else record.name
        jobs.append(copy_job(original, replace(record, name=name), target))
        subsets.setdefault(subset, []).append(name)
    return convert(jobs, target, processes=processes, work=work, subsets=subsets, copies_of=parts, in_threads=True)


def part_names(parts: Sequence[DataSet]) -> list[str]:
    """Of each part the name of its file or folder, without its ending; numbered where two are alike."""
    stems = [Path(str(part.path)).stem for part in parts]
    return [stem if stems.count(stem) == 1 else f"{stem}-{number}" for number, stem in enumerate(stems)]

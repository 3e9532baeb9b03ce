"""A data set once more, with more said of its objects."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from vader3d.captions import Caption, joined
from vader3d.data.archive.format import ArchiveError, ObjectRecord
from vader3d.data.captioning.kinds import clean_tags
from vader3d.data.captioning.template import CATALOGUED, Look, look_of, name_of, template_captions, template_tags
from vader3d.data.dataset import DataSet
from vader3d.data.making.chairs import EDITION, captions_of, design
from vader3d.data.making.conversion import Output, PrepareReport, Work, check_output, convert
from vader3d.data.making.copying import Original, copied, copy_job, originals, subset_names
from vader3d.data.writer import CopiedObject

OURS = re.compile(rf"vader3d chairs, edition {EDITION}, series (\d{{1,19}}), piece (\d{{1,19}})")
NUMBERED = re.compile(r"(?:.*[-.])?chair-(\d{5,})")
REMADE = ("catalogue", "chairs", "template")  # sources whose captions are made anew
ASKED, ALIKE = 24, 1.5  # objects whose sizes say what is usual; sizes that vary less are nobody's own


class Captioner(Protocol):
    """A network that tells what pictures show."""

    name: str

    def __call__(self, pictures: np.ndarray, hint: str) -> Sequence[str]:
        """A text for each of the pictures uint8 [V, H, W, 3]; `hint`: what the object is called, or empty."""


class Scorer(Protocol):
    """A network that tells how well texts fit pictures."""

    name: str

    def __call__(self, texts: Sequence[str], pictures: np.ndarray) -> Sequence[float]:
        """The mean cosine of each text's and the pictures' features; pictures uint8 [V, H, W, 3]."""


@dataclass(frozen=True)
class Describer:
    """How captions come about.

    template: over what is known and seen, exact for our own chairs. captioner: asked about `views` pictures of an
    object. scorer: captions of either that fit the pictures by less than `least_score` are dropped.
    """

    template: bool = True
    captioner: Captioner | None = None
    scorer: Scorer | None = None
    views: int = 4
    least_score: float = 0.2


@dataclass(frozen=True)
class Told:
    """What a describer says of one object; the captions it dropped are counted."""

    captions: tuple[Caption, ...] = ()
    tags: tuple[str, ...] = ()
    dropped: int = 0


def captions_for(record: ObjectRecord, look: Look | None = None, *, seed: int = 0) -> tuple[Caption, ...]:
    """Captions of a chair of ours, exact, by its source, else by its name (chair-00012, c-chair-00012) and `seed`.

    Of anything else those of the template, for which a look at the views is needed; () without.
    """
    if match := OURS.fullmatch(record.source):
        return captions_of(design(int(match[1]), int(match[2])))
    if not record.source and (match := NUMBERED.fullmatch(record.name)):
        return captions_of(design(seed, int(match[1])))
    return template_captions(record, look) if look is not None else ()


def tags_for(record: ObjectRecord, look: Look | None = None) -> tuple[str, ...]:
    """Its tags, without noise, and its attributes as key:value, those of a chair of ours exact."""
    if match := OURS.fullmatch(record.source):
        return design(int(match[1]), int(match[2])).tags
    return (*clean_tags(record.tags), *(template_tags(record, look) if look else ()))


def recaption(
    data: DataSet,
    output: Path,
    describer: Describer | None = None,
    *,
    file: Path | None = None,
    objects_per_shard: int | None = None,
    processes: int = 1,
    work: Work | None = None,
) -> PrepareReport:
    """Copy a data set into the archive or shards `output`, with captions: of `file`, then made, then those it had.

    Pictures are not encoded anew from archive to archive, nor from shards to shards, else without loss; the fingerprint
    stays, so that runs on either go on. Objects that cannot be read are left out and reported. Of several `processes`
    each has the describer's networks. ValueError names a wrong argument, file or line.
    """
    describer, output = describer or Describer(), Path(output)
    check_output(output, data)
    target = Output(output, data.title, data.resolution, objects_per_shard=objects_per_shard)
    usual = usual_size(data) if describer.template else None
    jobs = [copy_job(original, record, target, retold, describer, usual) for original, record in originals(data)]
    subsets = subset_names(data, [job.name for job in jobs])
    report = convert(jobs, target, processes=processes, work=work, subsets=subsets, captions=file, copies_of=[data])
    counts = [len(record.captions) for record in target.read().records]
    report.notes += [f"{counts.count(0)} objects have no caption"] if 0 in counts else []
    report.notes.append(f"{sum(counts)} captions")
    return report


def retold(
    original: Original, record: ObjectRecord, in_shards: bool, quality: int, describer: Describer, usual: float | None
) -> CopiedObject:
    """The object with what a describer says of it; the note counts the captions that it dropped."""
    told = tell(original, record, describer, usual)
    known = record.source.startswith(CATALOGUED) or OURS.fullmatch(record.source)  # before captions had sources, too
    remade = {*REMADE, ""} if known else set(REMADE)
    kept = [caption for caption in record.captions if not (told.captions and caption.source in remade)]
    captions, tags = joined(told.captions, kept), told.tags or record.tags
    copy = copied(original, replace(record, captions=captions, tags=tags), in_shards, quality)
    left_out = f"{told.dropped} captions left out that fit the pictures by less than {describer.least_score}"
    return replace(copy, note=left_out if told.dropped else "")


def tell(original: Original, record: ObjectRecord, describer: Describer, usual: float | None) -> Told:
    """What a describer says of an object; ArchiveError where it cannot be read."""
    if not (describer.template or describer.captioner):
        return Told()
    exact = captions_for(record) if describer.template else ()
    if exact and not (describer.captioner or describer.scorer):
        return Told(exact, tags_for(record))
    views = original.data.read(original.index)
    look = look_of(views) if describer.template and not exact else None
    captions = list(exact or (template_captions(record, look, usual_size=usual) if look else ()))
    chosen = np.linspace(0, len(views.pictures) - 1, min(describer.views, len(views.pictures))).round().astype(int)
    pictures = on_black(views.pictures[chosen])
    if describer.captioner:
        texts = (" ".join(text.split()) for text in describer.captioner(pictures, name_of(record)))
        captions = [*(Caption(text, describer.captioner.name) for text in texts if text), *captions]
    captions = list(joined(captions, ()))
    kept = captions
    if describer.scorer and captions:
        scores = describer.scorer([caption.text for caption in captions], pictures)
        good = zip(captions, scores, strict=True)
        kept = [caption for caption, score in good if caption in exact or score >= describer.least_score]
    return Told(tuple(kept), tags_for(record, look) if describer.template else (), len(captions) - len(kept))


def on_black(pictures: np.ndarray) -> np.ndarray:
    """RGBA uint8 [V, H, W, 4] with straight alpha -> RGB uint8 [V, H, W, 3]."""
    return (pictures[..., :3].astype(np.uint16) * pictures[..., 3:] // 255).astype(np.uint8)


def usual_size(data: DataSet) -> float | None:
    """The median size of some objects; None where all have been scaled to one size, or none can be read."""
    sizes = []
    for index in np.unique(np.linspace(0, len(data) - 1, ASKED).round().astype(int)).tolist():
        try:
            if captions_for(data.records[index]) or not data.records[index].posed:
                continue
            sizes.append(look_of(data.read(index)).size)
        except ArchiveError:
            continue
    low, middle, high = np.quantile(sizes, (0.1, 0.5, 0.9)) if sizes else (0.0, 0.0, 0.0)
    return float(f"{middle:.3g}") if high > ALIKE * low > 0 else None  # the same on every machine

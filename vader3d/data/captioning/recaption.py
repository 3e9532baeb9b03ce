"""A data set once more, with more said of its objects."""

import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from vader3d.captions import Caption, CaptionFile, joined, numbered_lines, read_captions
from vader3d.data.archive.format import ArchiveError, ObjectRecord
from vader3d.data.captioning.kinds import clean_tags
from vader3d.data.captioning.template import CATALOGUED, Look, look_of, name_of, template_captions, template_tags
from vader3d.data.dataset import DataSet, none_readable
from vader3d.data.making.chairs import EDITION, captions_of, design
from vader3d.data.making.conversion import Output, PrepareReport, check_output
from vader3d.files import discard, write_text, writing
from vader3d.progress import track
from vader3d.untrusted import reading

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

    def settings(self, data: DataSet) -> dict:
        """All that the captions depend on."""
        names = {"captioner": self.captioner and self.captioner.name, "scorer": self.scorer and self.scorer.name}
        return {"data": data.fingerprint, "template": self.template, "views": self.views, **names} | (
            {"least_score": self.least_score} if self.scorer else {}
        )


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
) -> PrepareReport:
    """Copy a data set into the archive or shards `output`, with captions: of `file`, then made, then those it had.

    Pictures are not encoded anew from archive to archive, nor from shards to shards, else without loss; the fingerprint
    stays, so that runs on either go on. What was made is kept beside the output until it is whole: the same command
    goes on. Objects that cannot be read are left out and reported. ValueError names a wrong argument, file or line.
    """
    started, describer, output = time.monotonic(), describer or Describer(), Path(output)
    check_output(output, data)
    said = read_captions(file) if file is not None else None
    report, numbers, dropped = PrepareReport(output), {}, 0
    target = Output(output, title=data.title, resolution=data.resolution, objects_per_shard=objects_per_shard)
    with target.open() as writer:
        notes = Notes(output.with_name(f"{output.name}.captions.jsonl"), describer.settings(data))
        usual = usual_size(data) if describer.template else None
        for index in track(range(len(data)), output.name, total=len(data)):
            try:
                record = data.records[index]
                told = notes.told.get(record.name) or notes.add(record.name, tell(data, index, describer, usual))
                numbers[index] = writer.copy(data, index, with_more(record, told, said))
                dropped += told.dropped
            except ValueError as error:
                report.skipped.append(str(error))
        if not numbers:
            raise none_readable(data, report.skipped)
        writer.fingerprint = (data.select(list(numbers)) if report.skipped else data).fingerprint
        writer.set_subsets({name: [numbers[i] for i in some if i in numbers] for name, some in data.subsets.items()})
    discard(notes.path)
    report.notes += said.notes() if said is not None else []
    report.notes += [f"{dropped} captions fit the pictures by less than {describer.least_score}"] if dropped else []
    bare = sum(not record.captions for record in writer.records)
    report.notes += [f"{bare} objects have no caption"] if bare else []
    report.notes.append(f"{sum(len(record.captions) for record in writer.records)} captions")
    report.objects, report.seconds = len(numbers), time.monotonic() - started
    report.megabytes = writer.bytes / 1e6
    return report


def with_more(record: ObjectRecord, told: Told, said: CaptionFile | None) -> ObjectRecord:
    """The record with what is said of it in a file, then what was told, then what nobody said anew."""
    known = record.source.startswith(CATALOGUED) or OURS.fullmatch(record.source)  # before captions had sources, too
    remade = {*REMADE, ""} if known else set(REMADE)
    kept = [caption for caption in record.captions if not (told.captions and caption.source in remade)]
    captions = joined(joined(said.of(record.name) if said else (), told.captions), kept)
    return replace(record, captions=captions, tags=told.tags or record.tags)


def tell(data: DataSet, index: int, describer: Describer, usual: float | None) -> Told:
    """What a describer says of an object; ArchiveError where it cannot be read."""
    if not (describer.template or describer.captioner):
        return Told()
    record = data.records[index]
    exact = captions_for(record) if describer.template else ()
    if exact and not (describer.captioner or describer.scorer):
        return Told(exact, tags_for(record))
    views = data.read(index)
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
    return float(middle) if high > ALIKE * low > 0 else None


@dataclass
class Notes:
    """What was told so far, in a file beside the output; of other settings nothing is kept."""

    path: Path
    settings: dict
    told: dict[str, Told] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with_settings = json.dumps(self.settings)
        lines = list(whole_lines(self.path)) if self.path.exists() else []
        if lines[:1] == [with_settings]:
            with reading(self.path, "captions of an earlier run; delete it"):
                for entry in map(json.loads, lines[1:]):
                    captions = tuple(Caption(**caption) for caption in entry["captions"])
                    self.told[entry["name"]] = Told(captions, tuple(entry["tags"]), entry["dropped"])
        write_text(self.path, "".join(f"{line}\n" for line in [with_settings, *lines[1 : len(self.told) + 1]]))

    def add(self, name: str, told: Told) -> Told:
        with writing(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"name": name, **asdict(told)}) + "\n")
        self.told[name] = told
        return told


def whole_lines(path: Path) -> Iterable[str]:
    """A file's lines, without a last one that a kill cut short."""
    for _, line in numbered_lines(path):
        if line.endswith("\n"):
            yield line.removesuffix("\n")

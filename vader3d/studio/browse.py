"""Data sets and runs that the command named, to be looked at."""

import io
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from vader3d.config import Range, config_from_dict
from vader3d.data.archive.splits import heldout_views
from vader3d.data.dataset import DataSet
from vader3d.data.inspection.camera_plot import scene_of
from vader3d.data.named import open_archive
from vader3d.demo.page import loss_chart
from vader3d.files import LOCK, WATCH_SECONDS, changed
from vader3d.hub import autodecoder_file, model_folder
from vader3d.snapshots import MODEL, read_header
from vader3d.training.log import read_metrics
from vader3d.training.loop import LoopConfig, share_done
from vader3d.training.run import NOTES
from vader3d.untrusted import read_json, reading

if TYPE_CHECKING:
    from fastapi import APIRouter

TITLES = {"autodecoder": "Stage 1: autodecoder", "diffusion": "Stage 2: diffusion"}
THUMB_PX, SCENES_KEPT, THUMBS_KEPT = 96, 16, 1024
SHOWN_NUMBERS = ("loss", "objects_per_second", "learning_rate_factor", "share_of_peak")
MOST_LETTERS = 100  # of what is looked for


class Shelf:
    """What may be browsed, by its place on the command line: no request names a path.

    ValueError, ArchiveError, FileNotFoundError: no such data set, no run of a training.
    """

    def __init__(self, data: Sequence[str] = (), runs: Sequence[Path] = (), *, model: str = ""):
        self.data: list[DataSet] = [open_archive(name) for name in data]
        self.runs = [run for place in runs for run in runs_in(place)]
        self.learned = learned_from(model) if self.data else ""
        self.lock = threading.Lock()  # one picture at a time: the rest of the machine makes objects
        self.scene = lru_cache(SCENES_KEPT)(self.read_scene)
        self.thumb = lru_cache(THUMBS_KEPT)(self.read_thumb)

    def listed(self) -> dict[str, Any]:
        """What there is. `learned`: the data set that the model learned from, where it is among them."""
        return {
            "data": [
                {
                    "title": data.title,
                    "objects": len(data),
                    "size": [*data.resolution],
                    "learned": bool(self.learned) and data.fingerprint == self.learned,
                }
                for data in self.data
            ],
            "runs": [{"name": run.name, "kind": kind_of(run)} for run in self.runs],
        }

    def called(self, neighbour: dict[str, Any]) -> dict[str, Any]:
        """An object of the training, by its number, with its name and caption where its data set is at hand."""
        known = next((data for data in self.data if self.learned and data.fingerprint == self.learned), None)
        with suppress(LookupError, ValueError):
            record = known.records[neighbour["number"]] if known else None
            return {**neighbour, "name": record and record.name, "caption": record and record.caption}
        return neighbour

    def objects(self, data: int, *, after: int, most: int, words: str) -> dict[str, Any]:
        """Records from number `after` on whose name, captions or category hold all `words`; `next`: where others begin.

        IndexError: no such data set.
        """
        wanted, found = words.casefold().split(), []
        records = self.data[data].records
        for number in range(after, len(records)):
            with suppress(ValueError):  # a damaged one
                record = records[number]
                said = " ".join([record.name, record.category, *(each.text for each in record.captions)]).casefold()
                if all(word in said for word in wanted):
                    found.append({"number": number, "name": record.name, "caption": record.caption})
            if len(found) == most:
                return {"objects": found, "next": number + 1 if number + 1 < len(records) else None}
        return {"objects": found, "next": None}

    def read_scene(self, data: int, number: int) -> dict[str, Any]:
        """An object's record, cameras, hull and pictures. IndexError: there is none; ArchiveError: it is damaged."""
        with self.lock:
            opened = self.data[data]
            record, views = opened.records[number], opened.read(number)
            about = {
                "captions": [[each.text, each.source] for each in record.captions],
                **{name: getattr(record, name) for name in ("category", "tags", "creator", "licence", "source")},
            }
            return scene_of(record.name, views, heldout_views(len(views.pictures))) | about

    def read_thumb(self, data: int, number: int) -> bytes:
        """The first view of an object as WebP. Errors: as those of `read_scene`."""
        with self.lock:
            image = Image.fromarray(self.data[data].read(number).pictures[0], "RGBA")
        image.thumbnail((THUMB_PX, THUMB_PX))
        written = io.BytesIO()
        image.save(written, "WEBP", quality=80)
        return written.getvalue()

    def run(self, number: int) -> dict[str, Any]:
        """How far a training is, what it lost, and its pictures. IndexError: there is none."""
        run = self.runs[number]
        kind, wanted, last = kind_of(run), loop_of(run), dict[str, float]()
        for line in read_metrics(run):  # not all know all numbers
            last |= line
        seconds = float(last.get("seconds", 0.0))
        share = min(1.0, share_done(wanted, int(last.get("seen", 0)), seconds))
        state = "running" if is_held(run) else "whole" if share >= 1 and (run / MODEL).is_file() else "stopped"
        return {
            "name": run.name,
            "title": TITLES.get(kind, kind),
            "state": state,
            "share": share,
            "seen": last.get("seen", 0),
            "wanted": wanted.objects_seen,
            "seconds": seconds,
            "seconds_left": seconds * (1 - share) / share if share and state == "running" else None,
            "numbers": {name: last[name] for name in SHOWN_NUMBERS if name in last},
            "chart": loss_chart(run, TITLES.get(kind, kind)).drawing(),
            "previews": [int(path.stem) for path in previews_of(run)],
        }

    def preview(self, run: int, seen: int) -> bytes:
        """The picture that was drawn after so many objects. LookupError: there is none."""
        return {int(path.stem): path for path in previews_of(self.runs[run])}[seen].read_bytes()


def runs_in(place: Path) -> list[Path]:
    """A run's folder, or those of a demo. ValueError: neither."""
    found = [run for run in (place, *(place / name for name in TITLES)) if (run / NOTES).is_file()]
    if not found:
        raise ValueError(f"run: wanted the folder of a training, with {NOTES}; got {place}; start it first")
    return found


def kind_of(run: Path) -> str:
    values = read_json(run / NOTES, "a run's notes")
    with reading(run / NOTES, "a run's notes"):
        return str(values["kind"])


def loop_of(run: Path) -> LoopConfig:
    """How long a run is to go on."""
    values = read_json(run / NOTES, "a run's notes")
    with reading(run / NOTES, "a run's notes"):
        loop = values["config"]["loop"]
        return config_from_dict(LoopConfig, {name: loop[name] for name in ("objects_seen", "seconds")})


def is_held(run: Path) -> bool:
    """Whether a training showed signs of life here lately."""
    beat = changed(run / LOCK)
    return beat is not None and time.time() - beat / 1e9 < WATCH_SECONDS


def previews_of(run: Path) -> list[Path]:
    """In the order in which they were drawn."""
    found = [path for path in (run / "previews").glob("*.png") if path.stem.isdecimal()]
    return sorted(found, key=lambda path: int(path.stem))


def learned_from(model: str) -> str:
    """The fingerprint of the data that a model's first stage learned from."""
    return str(read_header(autodecoder_file(model_folder(model)), "autodecoder").get("data", ""))


def browsing(shelf: Shelf) -> "APIRouter":
    """The calls that show it; they are made in threads, so that the server goes on answering."""
    from fastapi import APIRouter, Response

    router = APIRouter(prefix="/v1")

    @router.get("/shelf")
    def get_shelf() -> dict[str, Any]:
        """The data sets and runs that the studio was started with."""
        return shelf.listed()

    @router.get("/data/{data:number}/objects")
    def get_objects(data: int, after: int = 0, most: int = 60, words: str = "") -> dict[str, Any]:
        """Objects of a data set, those alone of whom all `words` are said; `next` is the `after` of the next page."""
        Range(at_least=1, at_most=200).check("most", most)
        Range(at_least=0).check("after", after)
        Range(at_most=MOST_LETTERS).check("letters of words", len(words))
        return shelf.objects(data, after=after, most=most, words=words)

    @router.get("/data/{data:number}/objects/{number:number}")
    def get_object(data: int, number: int) -> dict[str, Any]:
        """An object's captions, cameras (apex and four corners), hull (points and colours) and pictures in a strip."""
        return shelf.scene(data, number)

    @router.get("/data/{data:number}/objects/{number:number}.webp", response_class=Response)
    def get_thumb(data: int, number: int) -> Response:
        """An object's first picture, small."""
        return Response(shelf.thumb(data, number), media_type="image/webp")

    @router.get("/runs/{run:number}")
    def get_run(run: int) -> dict[str, Any]:
        """A training: its state, share, seconds left, curves as SVG, and after how many objects there are previews."""
        return shelf.run(run)

    @router.get("/runs/{run:number}/previews/{seen:number}.png", response_class=Response)
    def get_preview(run: int, seen: int) -> Response:
        """A preview of a training."""
        return Response(shelf.preview(run, seen), media_type="image/png")

    return router

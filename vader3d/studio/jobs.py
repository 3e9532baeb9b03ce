"""The gallery on disk: jobs, their order, and what is kept of them."""

import json
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from vader3d.assets import LIST, AssetFolder
from vader3d.config import Range
from vader3d.files import discard, write_text
from vader3d.untrusted import read_json, reading

State = Literal["queued", "running", "done", "failed", "cancelled", "damaged"]
ASSET_STATES = ("waiting", "ready", "empty", "damaged")
ENDED = ("done", "failed", "cancelled", "damaged")
JOB_ID, ASSET_ID = re.compile("[0-9a-f]{16}"), re.compile("[0-9a-f]{16}-[0-9]{1,2}")
NEAREST = "nearest.json"  # beside an asset's files: objects of the training that are most like it
UPLOADS = "uploads"  # folder of what browsers sent
QUEUE = 16  # jobs that wait at most
DAY = 86400.0
WRITTEN = ("id", "number", "created", "request", "recipes", "key", "state", "reason", "remarks", "assets")


class Refused(Exception):
    """Not now: the queue is full, or a key was used for something else. Carries the HTTP status."""

    def __init__(self, status: int, words: str):
        super().__init__(words)
        self.status = status


@dataclass
class Job:
    """A job as the API shows it, without recipes and key; progress and previews live in memory alone.

    assets: id, name, prompt, seed, state (waiting, ready, empty, damaged) and what is known of the mesh, of each.
    """

    id: str
    number: int  # later jobs have greater ones, whatever the clock says
    created: float  # seconds since 1970
    request: dict[str, Any]
    recipes: list[dict[str, Any]]
    assets: list[dict[str, Any]]
    key: str = ""
    state: State = "queued"
    reason: str = ""
    remarks: list[str] = field(default_factory=list)
    step: int = 0
    steps: int = 0
    previews: dict[str, str] = field(default_factory=dict)  # asset id -> a small picture as a data: address
    version: int = 0  # counts changes

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def shown(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("recipes", "key")}


class Gallery:
    """All jobs of a folder, which one process holds: `jobs/ID.json`, and `assets/ID/` with the files of each object.

    Methods may be called from any thread.
    """

    def __init__(self, folder: Path, *, keep_days: float = 30.0, most_bytes: float = 4e9):
        self.folder, self.keep_days, self.most_bytes = folder, keep_days, most_bytes
        self.lock = threading.RLock()
        self.jobs: dict[str, Job] = {}
        for room in ("jobs", "assets"):
            (folder / room).mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder / "exports", ignore_errors=True)
        read = sorted((self.read(path) for path in (folder / "jobs").glob("*.json")), key=lambda job: job.number)
        for job in read:
            self.jobs[job.id] = job
            if job.state == "running":  # its maker died; what is made stays, the rest is made now
                job.state = "queued"
        self.prune()

    def read(self, path: Path) -> Job:
        """A job that was written; state damaged, with the reason, where it cannot be read."""
        try:
            values = read_json(path, "a job of the studio")
            with reading(path, "a job of the studio"):
                job = Job(**{name: values[name] for name in WRITTEN})
                for name in ("number", "created"):
                    Range(at_least=0).check(name, getattr(job, name) + 0)
                if job.id != path.stem or job.state not in get_args(State) or len(job.recipes) != len(job.assets):
                    raise ValueError(f"id: wanted {path.stem}, whole; got {job.id!r}, {job.state!r}")
                if not all(ASSET_ID.fullmatch(each["id"]) and each["state"] in ASSET_STATES for each in job.assets):
                    raise ValueError(f"assets: wanted ids and states; got {job.assets!r:.80}")
        except (ValueError, OSError) as error:
            return Job(path.stem, 0, 0.0, {}, [], [], state="damaged", reason=f"damaged: {error}")
        for asset in job.assets:
            if asset["state"] == "ready" and (reason := self.fault_of(asset["id"])):
                asset |= {"state": "damaged", "reason": reason}
        return job

    def fault_of(self, asset: str) -> str:
        """What is wrong with an asset's files, at a glance, in words; empty where nothing is."""
        place = self.folder / "assets" / asset
        try:
            (known,) = AssetFolder(place).objects.values()
            for name in known["files"]:
                if not (place / name).is_file():
                    return f"{name} is no longer there"
        except (ValueError, OSError, KeyError, TypeError) as error:
            return f"cannot be read: {type(error).__name__}"
        return ""

    def write(self, job: Job) -> None:
        values = {name: getattr(job, name) for name in WRITTEN}
        write_text(self.folder / "jobs" / f"{job.id}.json", json.dumps(values, indent=1) + "\n")

    def submit(self, request: Mapping[str, Any], recipes: Sequence[Mapping[str, Any]], key: str = "") -> Job:
        """A new job at the queue's end, or the one that the same key made. Refused: a full queue, a key of another."""
        with self.lock:
            if key and (known := next((job for job in self.jobs.values() if job.key == key), None)):
                if known.request != request:
                    raise Refused(409, "Idempotency-Key: wanted a new one for a new request; got one used before")
                return known
            if sum(job.state == "queued" for job in self.jobs.values()) >= QUEUE:
                raise Refused(429, f"queue: wanted a free place of {QUEUE}; got none; come again later")
            identity, number = secrets.token_hex(8), max((job.number for job in self.jobs.values()), default=0) + 1
            assets = [
                {
                    "id": f"{identity}-{i}",
                    "state": "waiting",
                    **{name: recipe[name] for name in ("prompt", "seed", "index")},
                }
                for i, recipe in enumerate(recipes)
            ]
            job = Job(identity, number, time.time(), dict(request), [dict(recipe) for recipe in recipes], assets, key)
            try:
                self.write(job)
            except OSError:  # a full disk: what is too old or too much goes, as it would at a job's end
                self.prune()
                self.write(job)
            self.jobs[job.id] = job
            return job

    def get(self, job: str) -> Job:
        """KeyError: there is none."""
        return self.jobs[job]

    def newest(self, *, before: int | None = None, most: int = 50) -> list[Job]:
        """The last ones first, numbered below `before`."""
        with self.lock:
            some = [job for job in self.jobs.values() if before is None or job.number < before]
        return sorted(some, key=lambda job: -job.number)[:most]

    def next_queued(self) -> Job | None:
        with self.lock:
            return min(
                (job for job in self.jobs.values() if job.state == "queued"), key=lambda j: j.number, default=None
            )

    def change(self, job: Job, *, written: bool = True, **values: Any) -> None:
        """Replace values of a job, since others read the old ones meanwhile.

        OSErrors of writing are its reason then: the work goes on.
        """
        with self.lock:
            for name, value in values.items():
                setattr(job, name, value)
            job.version += 1
            if written and job.id in self.jobs:
                try:
                    self.write(job)
                except OSError as error:
                    job.reason = job.reason or str(error)

    def asset(self, asset: str) -> tuple[Job, dict[str, Any]]:
        """An asset with its job. KeyError: there is none."""
        job = self.jobs[asset.partition("-")[0]]
        return job, {each["id"]: each for each in job.assets}[asset]

    def recipe_values(self, asset: str) -> dict[str, Any]:
        """What made an asset. KeyError: there is none of the id."""
        job, entry = self.asset(asset)
        return job.recipes[job.assets.index(entry)]

    def remove(self, asset: str) -> None:
        """An asset's files, and its job with the last of them. KeyError: there is none."""
        with self.lock:
            job, entry = self.asset(asset)
            shutil.rmtree(self.folder / "assets" / asset, ignore_errors=True)
            kept = [i for i, each in enumerate(job.assets) if each is not entry]
            if kept:
                self.change(job, assets=[job.assets[i] for i in kept], recipes=[job.recipes[i] for i in kept])
            else:
                self.forget(job)

    def forget(self, job: Job) -> None:
        with self.lock:
            self.jobs.pop(job.id, None)
            discard(self.folder / "jobs" / f"{job.id}.json")
            for asset in job.assets:
                shutil.rmtree(self.folder / "assets" / asset["id"], ignore_errors=True)

    def prune(self) -> None:
        """Forget ended jobs that are too old, then the oldest until the rest fits; never those that wait or run.

        What browsers sent goes after a day.
        """
        discard_old(self.folder / UPLOADS)
        with self.lock:
            ended = sorted((job for job in self.jobs.values() if job.state in ENDED[:3]), key=lambda job: job.number)
            sizes = {job.id: sum(map(bytes_in, self.rooms_of(job))) for job in ended}
            total = sum(sizes.values())
            for job in ended:
                if time.time() - job.created > self.keep_days * DAY or total > self.most_bytes:
                    total -= sizes[job.id]
                    self.forget(job)

    def rooms_of(self, job: Job) -> Iterator[Path]:
        yield from (self.folder / "assets" / asset["id"] for asset in job.assets)


def discard_old(folder: Path) -> None:
    """Delete the files of more than a day ago."""
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):  # others delete, too
            if time.time() - path.stat().st_mtime > DAY:
                discard(path)


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*") if path.is_file())


def files_of(folder: Path) -> dict[str, Any]:
    """What an asset's list knows: name, files, empty, mesh. ValueError: a damaged one, or none."""
    with reading(folder / LIST, "one object"):
        ((name, known),) = AssetFolder(folder).objects.items()
        return {"name": name, **known}


def nearest_in(folder: Path) -> list[dict[str, Any]]:
    """The training's nearest objects to an asset: number, distance, copy, picture; none where none were noted."""
    return read_json(folder / NEAREST, "neighbours") if (folder / NEAREST).is_file() else []

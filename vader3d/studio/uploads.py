"""What browsers send beside words: pictures, their cameras, motions."""

import hashlib
import io
import json
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vader3d.config import Range
from vader3d.data.motion import FORMAT, Motion, motion_from, read_motion
from vader3d.data.reading.nerfstudio import NERFSTUDIO
from vader3d.data.reading.pictures import check_decodable
from vader3d.data.reading.reader import Reading
from vader3d.data.writer import PreparedObject
from vader3d.files import write_bytes
from vader3d.studio.guard import MOST_UPLOAD
from vader3d.studio.jobs import Refused, bytes_in, discard_old
from vader3d.untrusted import reading

if TYPE_CHECKING:
    from fastapi import APIRouter

UPLOAD_ID = re.compile("[0-9a-f]{32}")
JSON = "application/json"
ENDS = {kind: kind.partition("/")[2] for kind in MOST_UPLOAD}  # of files, by their media types
MOST_KEPT = 1 << 30  # bytes of all of them
PICTURES = Range(at_least=2, at_most=200)  # of one object
OF_CAMERAS = {  # what is read of transforms.json: of a frame, else of all
    *("transform_matrix", "camera_model", "distortion_params", "camera_angle_x", "camera_angle_y", "w", "h"),
    *("fl_x", "fl_y", "cx", "cy", "k1", "k2", "k3", "k4", "p1", "p2"),
}


class Uploads:
    """Files of a folder, called by what they hold, for a day: no name of a client's is kept."""

    def __init__(self, folder: Path):
        self.folder, self.lock = folder, threading.Lock()

    def keep(self, kind: str, data: bytes) -> dict[str, str]:
        """Its id, and what it is: a picture (of the media type that is said), cameras, or a motion.

        ValueError: something else, or damaged. Refused: there is no room for it. OSError: it could not be written.
        """
        with self.lock:  # one is decoded at a time
            self.folder.mkdir(parents=True, exist_ok=True)
            discard_old(self.folder)
            if bytes_in(self.folder) + len(data) > MOST_KEPT:
                raise Refused(429, f"uploads: wanted at most {MOST_KEPT} bytes a day; got more; come again later")
            what = "picture"
            if kind == JSON:
                what, data = self.document(json.loads(data))
            else:
                check_picture(data, ENDS[kind])
            identity = hashlib.sha256(data).hexdigest()[:32]
            write_bytes(self.folder / f"{identity}.{ENDS[kind]}", data)
            return {"id": identity, "kind": what}

    def document(self, found: dict[str, Any]) -> tuple[str, bytes]:
        """A motion as it came, or the cameras of pictures that were sent before."""
        if found.get("format") == FORMAT:
            with reading("motion", "what docs/animation.md describes"):
                motion_from(found)
            return "motion", json.dumps(found).encode()
        frames = found.get("frames")
        if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
            raise ValueError("upload: wanted a motion, or transforms.json with a list of frames; got another document")
        PICTURES.check("frames", len(frames))
        kept = [
            {name: value for name, value in {**found, **frame}.items() if name in OF_CAMERAS}
            | {"file_path": self.path(frame.get("file_path"), "file_path").name}
            for frame in frames
        ]
        whole = {"frames": kept} | ({"aabb": found["aabb"]} if "aabb" in found else {})
        return "cameras", json.dumps(whole).encode()

    def path(self, identity: Any, what: str) -> Path:
        """Where an upload lies. ValueError: there is none of the id."""
        if isinstance(identity, str) and UPLOAD_ID.fullmatch(identity):
            for end in ENDS.values():
                if (path := self.folder / f"{identity}.{end}").is_file():
                    return path
        raise ValueError(f"{what}: wanted the id of an upload of the last day; got another; send it again")

    def check(self, pictures: Sequence[str]) -> None:
        """ValueError: neither cameras nor pictures enough."""
        paths = [self.path(each, "pictures") for each in pictures]
        if len(paths) == 1 and paths[0].suffix == ".json":
            return
        if any(path.suffix == ".json" for path in paths):
            raise ValueError("pictures: wanted cameras alone, which name their pictures, or pictures; got both")
        PICTURES.check("pictures", len(paths))

    def motion(self, identity: str) -> Motion:
        """ValueError: there is none of the id."""
        return read_motion(self.path(identity, "driving"))

    def object(self, pictures: Sequence[str], room: Path, *, size: int) -> PreparedObject:
        """The object of `pictures`: cameras, or pictures, whose cameras are looked for with `room` as a workplace.

        ValueError: what is wrong with them. ImportError: what looks for cameras is not here.
        """
        from vader3d.data.photographs.objects import Photography, object_of
        from vader3d.frozen.matting import Matting

        self.check(pictures)
        paths = [self.path(each, "pictures") for each in pictures]
        if paths[0].suffix == ".json":
            return NERFSTUDIO.read_object(paths[0], "object", Reading(size))
        (room / "images").mkdir(parents=True)
        for number, path in enumerate(paths):
            (room / "images" / f"{number:03}{path.suffix}").hardlink_to(path)
        return object_of(room / "images", "object", room / "made", Photography(size), Matting("auto"))


def check_picture(data: bytes, kind: str) -> None:
    """ValueError: another kind of file, a damaged one, too many pixels."""
    from PIL import Image

    with reading("picture", "a whole picture"), Image.open(io.BytesIO(data), formats=[kind.upper()]) as picture:
        check_decodable(picture)
        picture.load()


def uploading(uploads: Uploads) -> "APIRouter":
    """The call that takes them; files are looked at in threads, so that the server goes on answering."""
    import asyncio

    from fastapi import APIRouter, Request

    router = APIRouter(prefix="/v1")
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in ENDS}

    @router.post("/uploads", status_code=201, openapi_extra={"requestBody": {"required": True, "content": content}})
    async def upload(request: Request) -> dict[str, str]:
        """Keep a picture, its cameras (transforms.json whose frames name pictures by id) or a motion for a day."""
        kind = request.headers["content-type"].partition(";")[0].strip().lower()
        return await asyncio.to_thread(uploads.keep, kind, await request.body())

    return router

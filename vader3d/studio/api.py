"""The API: typed jobs, their events, their assets, and the page."""

import asyncio
import gzip
import io
import json
import shutil
import zipfile
from collections.abc import AsyncIterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from vader3d import __version__
from vader3d.config import Range, config_to_dict
from vader3d.data.inspection.camera_plot import FOLDER as INSPECTION
from vader3d.export.formats import FORMATS, check_formats
from vader3d.export.placement import ExportConfig
from vader3d.export.surface import surface_for
from vader3d.files import checksum_of
from vader3d.studio.browse import Shelf, browsing
from vader3d.studio.foreman import Foreman
from vader3d.studio.guard import App, Guard, Keys
from vader3d.studio.jobs import ASSET_ID, JOB_ID, UPLOADS, Job, Refused, files_of, nearest_in
from vader3d.studio.maker import usual
from vader3d.studio.requests import check_able, request_from, request_schema, values_of
from vader3d.studio.uploads import Uploads, uploading

PAGE = Path(__file__).parent / "page"
PAGE_FILES = {  # where each lies
    "index.html": PAGE,
    "studio.css": PAGE,
    "common.js": PAGE,
    "studio.js": PAGE,
    "browse.js": PAGE,
    "splats.js": PAGE,
    "model-viewer.min.js": PAGE,
    "camera_plot.js": INSPECTION,
}
PAGE_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}
MOST_STREAMS, EVENT_SECONDS, BEAT_SECONDS = 64, 0.1, 15.0
EXPORT_SECONDS = 300.0
MOST_FACES, MOST_TEXTURE = 500_000, 4096  # of one download
COOKIE_SECONDS = 30 * 86400
KINDS = {
    "glb": "model/gltf-binary",
    "obj": "text/plain",
    "zip": "application/zip",
    "stl": "model/stl",
    "3mf": "model/3mf",
    "usdz": "model/vnd.usdz+zip",
    "webp": "image/webp",
    "png": "image/png",
    "mp4": "video/mp4",
}
LASTING = {"Cache-Control": "private, max-age=86400"}  # an object never changes
Preset = Literal["print", "mobile", "game", "high"]


@cache
def page_file(name: str) -> bytes:
    """A file of the page, packed as it travels."""
    packed = PAGE_FILES[name] / f"{name}.gz"
    if packed.is_file():
        return packed.read_bytes()
    return gzip.compress((PAGE_FILES[name] / name).read_bytes(), 9, mtime=0)


def create_app(
    foreman: Foreman, keys: Keys, *, model: dict[str, Any], shelf: Shelf | None = None, hosts: tuple[str, ...] = ()
) -> App:
    """The application, guarded. model: what `vader3d schema` says of it."""
    from fastapi import FastAPI, Header, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
    from starlette.convertors import StringConvertor, register_url_convertor

    for name, pattern in (("job", JOB_ID.pattern), ("asset", ASSET_ID.pattern), ("number", "[0-9]{1,15}")):
        register_url_convertor(name, type(name, (StringConvertor,), {"regex": pattern})())

    gallery, streams, shelf = foreman.gallery, [0], shelf or Shelf()
    uploads = Uploads(gallery.folder / UPLOADS)
    app = FastAPI(title="vader3d studio", version=__version__, docs_url=None, redoc_url=None)
    app.include_router(browsing(shelf))
    app.include_router(uploading(uploads))

    @app.exception_handler(RequestValidationError)
    async def unprocessable(request: Request, error: RequestValidationError) -> Response:
        """Says what is wrong without what was sent, which may be no text."""
        found = error.errors()[0]
        where = ".".join(map(str, found["loc"][1:])) or "body"
        return JSONResponse({"detail": f"{where}: {found['msg']}"}, 422)

    @app.exception_handler(ValueError)
    async def wrong(request: Request, error: ValueError) -> Response:
        words = str(error).encode("utf-8", "replace").decode()
        return JSONResponse({"detail": words}, 422)

    @app.exception_handler(ImportError)
    async def not_here(request: Request, error: ImportError) -> Response:
        return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(LookupError)
    async def nothing(request: Request, error: LookupError) -> Response:
        return JSONResponse({"detail": "id: wanted one of those that there are; got another"}, 404)

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        more = {"Retry-After": "5"} if error.status in (429, 503) else {}
        return JSONResponse({"detail": str(error)}, error.status, more)

    @app.exception_handler(OSError)
    async def not_written(request: Request, error: OSError) -> Response:
        return JSONResponse({"detail": str(error)}, 507)

    def known(asset: str) -> dict[str, Any]:
        try:
            return gallery.recipe_values(asset)
        except KeyError as error:
            raise ValueError(f"source: wanted an asset of the gallery; got {asset!r}; choose one") from error

    session = {"type": "object", "properties": {"secret": {"type": "string"}}, "required": ["secret"]}

    @app.post("/v1/session", status_code=204, openapi_extra=json_body(session))
    async def open_session(request: Request) -> Response:
        """Show the token, or a code that stands for it once; the answer sets a cookie for the page."""
        secret = (await request.json()).get("secret")
        if not isinstance(secret, str) or not keys.opens(secret):
            return JSONResponse({"detail": "secret: wanted the token or a fresh code; got another"}, 401)
        answer = Response(status_code=204)
        answer.set_cookie(keys.cookie, keys.token, max_age=COOKIE_SECONDS, httponly=True, samesite="strict", path="/v1")
        return answer

    @app.get("/v1/model")
    async def get_model() -> dict[str, Any]:
        """What the model takes, makes and, once it is loaded, can do besides; and which formats there are."""
        formats = {name: {"what": form.what, "here": is_here(name)} for name, form in FORMATS.items()}
        state = {"state": foreman.model_state, "reason": foreman.model_reason, "device": foreman.used_device}
        return {**state, "can": foreman.can, "schema": model, "formats": formats, "version": __version__}

    @app.post("/v1/jobs", status_code=201, openapi_extra=json_body(request_schema()))
    async def submit(request: Request, idempotency_key: str = Header("", max_length=64)) -> dict[str, Any]:
        """Ask for objects. The same Idempotency-Key with the same request gives the job that it gave before."""
        asked = request_from(await request.json())
        if foreman.model_state == "failed":
            raise Refused(503, foreman.model_reason)
        values = values_of(asked, known)
        if any(map(is_prompted, values)) and "prompt" not in model["properties"]:
            raise ValueError("prompts: wanted none, this model was trained without texts; got some; leave them out")
        check_able(asked, foreman.can, uploads)
        job = await asyncio.to_thread(gallery.submit, config_to_dict(asked), values, idempotency_key)
        return job.shown()

    @app.get("/v1/jobs")
    async def list_jobs(before: int | None = None, most: int = 50) -> Response:
        """The gallery, the newest first, numbered below `before`."""
        Range(at_least=1, at_most=200).check("most", most)
        return JSONResponse([job.shown() for job in gallery.newest(before=before, most=most)])

    @app.get("/v1/jobs/{id:job}")
    async def get_job(id: str) -> Response:
        """One job: queued, running, done, failed (with the reason), cancelled, damaged."""
        return JSONResponse(gallery.get(id).shown())

    @app.delete("/v1/jobs/{id:job}")
    async def cancel(id: str) -> dict[str, Any]:
        """Cancel a job, within one step; what it has made stays. One that has ended stays as it is."""
        job = gallery.get(id)
        await asyncio.to_thread(foreman.cancel, job)
        return job.shown()

    @app.get("/v1/jobs/{id:job}/events")
    async def events(id: str) -> StreamingResponse:
        """The job by server-sent events, whenever it changes, until it ends."""
        job = gallery.get(id)
        if streams[0] >= MOST_STREAMS:
            raise Refused(429, f"streams: wanted at most {MOST_STREAMS} at once; got more; ask GET /v1/jobs/ID")
        return StreamingResponse(stream(job), media_type="text/event-stream")

    async def stream(job: Job) -> AsyncIterator[str]:
        streams[0] += 1
        try:
            seen, waited = -1, 0.0
            while True:
                if job.version != seen:
                    seen, waited = job.version, 0.0
                    yield f"event: job\ndata: {json.dumps(job.shown())}\n\n"
                    if job.ended:
                        return
                elif waited >= BEAT_SECONDS:
                    waited = 0.0
                    yield ": still here\n\n"
                await asyncio.sleep(EVENT_SECONDS)
                waited += EVENT_SECONDS
        finally:
            streams[0] -= 1

    @app.get("/v1/assets/{id:asset}")
    async def get_asset(id: str) -> dict[str, Any]:
        """What made an object, what is known of its files, and the training's objects that are nearest to it."""
        _, entry = gallery.asset(id)
        place = gallery.folder / "assets" / id
        known = files_of(place) if entry["state"] in ("ready", "empty") else {}
        return {
            **entry,
            "recipe": gallery.recipe_values(id),
            **{k: known.get(k) for k in ("provenance", "mesh", "files")},
            "nearest": [shelf.called(each) for each in nearest_in(place)],
        }

    @app.delete("/v1/assets/{id:asset}", status_code=204)
    async def delete_asset(id: str) -> Response:
        """Delete an object with its files."""
        job, _ = gallery.asset(id)
        if not job.ended:
            raise Refused(409, "asset: wanted one of a job that has ended; got one in the making; cancel it first")
        await asyncio.to_thread(gallery.remove, id)
        return Response(status_code=204)

    @app.get("/v1/assets/{id:asset}.{form}", response_class=Response)
    async def download(
        id: str,
        form: str,
        preset: Preset | None = None,
        faces: int | None = None,
        colour: Literal["texture", "vertex"] | None = None,
        texture_size: int | None = None,
        size_cm: float | None = None,
        pivot: Literal["centre", "base"] = "centre",
    ) -> Response:
        """An object as a file of any format; several files (OBJ with its materials, levels of detail) as a zip."""
        _, entry = gallery.asset(id)
        check_formats([form], form)
        Range(at_most=MOST_FACES).check("faces", faces or 0)
        Range(at_most=MOST_TEXTURE).check("texture_size", texture_size or 0)
        surface = surface_for(preset, faces=faces, colour=colour, texture_size=texture_size)
        how = config_to_dict(ExportConfig(size_cm=size_cm, pivot=pivot)), config_to_dict(surface) if surface else None
        if entry["state"] not in ("ready", "empty"):
            raise Refused(409, f"asset: wanted one that is made; got {entry['state']}: {entry.get('reason', '')}")
        place, kept = gallery.folder / "assets" / id, how == usual()
        known = files_of(place)
        name = f"{known['name']}.{form}"
        if kept and form != "obj" and name in known["files"]:
            if await asyncio.to_thread(checksum_of, place / name) != known["files"][name]:
                raise Refused(410, f"asset: wanted {name} as it was written; got another; make it anew")
            return FileResponse(place / name, media_type=kind_of(form), filename=name, headers=LASTING)
        folder, waiting = foreman.export(id, form, *how, kept=kept)
        try:
            if reason := await asyncio.wait_for(asyncio.wrap_future(waiting), EXPORT_SECONDS):
                raise ValueError(reason)
            data, name = await asyncio.to_thread(packed, folder, known["name"], form)
        except asyncio.TimeoutError as error:
            raise Refused(503, "the model is at work; come again later") from error
        finally:
            if not kept:
                await asyncio.to_thread(shutil.rmtree, folder, True)
        return Response(data, media_type=kind_of(name), headers={**LASTING, "Content-Disposition": disposition(name)})

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return served("index.html")

    @app.get("/{name}", include_in_schema=False)
    async def page(name: str) -> Response:
        if name not in PAGE_FILES:
            return JSONResponse({"detail": "path: wanted / or /v1/...; got another"}, 404)
        return served(name)

    def served(name: str) -> Response:
        return Response(
            page_file(name), media_type=PAGE_KINDS[name.rpartition(".")[2]], headers={"Content-Encoding": "gzip"}
        )

    return Guard(app, keys=keys, hosts=hosts)


def is_prompted(recipe: Mapping[str, Any]) -> bool:
    return bool(recipe.get("prompt") or recipe.get("negative_prompt"))


def json_body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def is_here(form: str) -> bool:
    """Whether what a format needs is installed."""
    try:
        check_formats([form], form)
    except ImportError:
        return False
    return True


def kind_of(name: str) -> str:
    """The media type of a format, or of a file's name."""
    return KINDS.get(name.rpartition(".")[2], "application/octet-stream")


def packed(folder: Path, name: str, form: str) -> tuple[bytes, str]:
    """The file of a format, or several as one zip, with its name."""
    ends = (form, *FORMATS[form].beside)
    files = [file for end in ends for file in sorted(folder.glob(f"*.{end}")) if file.name.startswith(name)]
    files = [file for file in files if not file.name[len(name) :].startswith(".") or file.name[len(name) + 1 :] in ends]
    if len(files) == 1:
        return files[0].read_bytes(), files[0].name
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.writestr(zipfile.ZipInfo(file.name), file.read_bytes(), zipfile.ZIP_DEFLATED)
    return data.getvalue(), f"{name}.zip"


def disposition(name: str) -> str:
    """Of a file to keep; the name, which may hold letters of any script, as RFC 5987 has it."""
    from urllib.parse import quote

    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"

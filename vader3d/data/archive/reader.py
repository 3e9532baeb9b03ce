"""Reads archives: objects on demand, nothing trusted."""

import hashlib
import io
import os
import threading
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from vader3d.data.archive.format import (
    FORMAT,
    MANIFEST,
    MANIFEST_BYTES,
    OBJECT_BYTES,
    VERSION,
    ArchiveError,
    ObjectRecord,
    ObjectViews,
    cameras_from_rows,
    check_cameras,
    check_resolution,
    check_subsets,
    check_version,
    contents_of,
    pictures_from_sheet,
    record_from_entry,
    sheet_layout,
    unknown_subset,
)
from vader3d.data.mesh_files import MESH_BYTES, mesh_of_ply
from vader3d.untrusted import parsed_json, reading, zip_member

if TYPE_CHECKING:
    from trimesh import Trimesh

READING_HEADERS = threading.Lock()  # numpy parses them with `ast`, which fails in threads of Python 3.11


class Archive:
    """Objects with their pictures, cameras and captions, read on demand; safe to share by threads and processes.

    `records`, `resolution` (H, W), `title`, and a `fingerprint` of all contents. Raises ArchiveError for what is no
    archive, comes from a newer version, or tries to reach outside itself.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if self.path.is_dir():
            raise ArchiveError(f"{path}: wanted an archive; got a folder; make an archive of it with `vader3d prepare`")
        self._zip: zipfile.ZipFile | None = None
        self._process = -1
        with reading(self.path, "an archive", ArchiveError):
            members = {info.filename: info for info in self._opened().infolist()}
            manifest_bytes = self._manifest_bytes(members)
            with reading(MANIFEST, "format, version, resolution, objects, subsets", ArchiveError):
                self._take(parsed_json(manifest_bytes))
        contents = sorted((name, info.CRC, info.file_size) for name, info in members.items())
        if self._copied.get("contents") == contents_of(contents):
            self.fingerprint = str(self._copied["fingerprint"])
        else:
            self.fingerprint = hashlib.sha256(manifest_bytes + repr(contents).encode()).hexdigest()

    def _take(self, manifest: Mapping) -> None:
        check_version(manifest, FORMAT, VERSION)
        height, width = map(int, manifest["resolution"])
        check_resolution(height, width)
        check_subsets(manifest["subsets"], len(manifest["objects"]))
        self.title = str(manifest.get("title", ""))
        self.resolution: tuple[int, int] = (height, width)
        self.subsets: dict[str, tuple[int, ...]] = {k: tuple(v) for k, v in manifest["subsets"].items()}
        self.records: list[ObjectRecord] = [record_from_entry(entry, (height, width)) for entry in manifest["objects"]]
        self._indices: list[int] = list(range(len(self.records)))
        self._copied: dict = dict(manifest.get("pictures", {}))

    def __len__(self) -> int:
        return len(self.records)

    def subset(self, name: str) -> "Archive":
        """The named selection of the objects, as an archive of its own."""
        if name not in self.subsets:
            raise unknown_subset(self.path, name, self.subsets)
        return self.select(self.subsets[name])

    def select(self, indices: Iterable[int]) -> "Archive":
        """The objects with these indices, as an archive of its own."""
        chosen = object.__new__(Archive)
        chosen.__setstate__(self.__getstate__())
        chosen.records = [self.records[i] for i in indices]
        chosen._indices = [self._indices[i] for i in indices]
        chosen.subsets = {}
        chosen.fingerprint = hashlib.sha256(f"{self.fingerprint} {chosen._indices}".encode()).hexdigest()
        return chosen

    def number(self, index: int) -> int:
        """An object's number in the whole archive."""
        return self._indices[index]

    def read(self, index: int) -> ObjectViews:
        """The pictures and cameras of one object; ArchiveError, with its name, when they are damaged."""
        record, (height, width) = self.records[index], self.resolution
        layout = sheet_layout(record.views, height, width)
        with reading(f"{self.path}: object {record.name!r}", "whole pictures and cameras", ArchiveError):
            data = self._member(index, "cameras.npy", limit=64 * record.views + 4096)
            with READING_HEADERS:
                rows = np.load(io.BytesIO(data), allow_pickle=False)
            if rows.shape != (record.views, 16) or rows.dtype != np.float32:
                raise ArchiveError(f"cameras: wanted float32 [{record.views}, 16]; got {rows.dtype} {rows.shape}")
            cameras = cameras_from_rows(rows, height, width)
            check_cameras(cameras, record.views, posed=record.posed)
            pictures = np.empty((record.views, height, width, 4), np.uint8)
            for sheet in range(layout.sheets):
                views, first = layout.sheet_views(sheet, record.views), sheet * layout.views_per_sheet
                data = self._member(index, f"pictures-{sheet:03d}.webp", limit=5 * views * height * width + 4096)
                pictures[first : first + views] = pictures_from_sheet(
                    data, views, columns=layout.columns, height=height, width=width
                )
        return ObjectViews(pictures, cameras)

    def true_mesh(self, index: int) -> "Trimesh | None":
        """The object's true surface as a trimesh.Trimesh, or None where the archive knows none."""
        with reading(f"{self.path}: object {self.records[index].name!r}: mesh.ply", "a whole mesh", ArchiveError):
            if f"{self._indices[index]:06d}/mesh.ply" not in self._opened().NameToInfo:
                return None
            return mesh_of_ply(self._member(index, "mesh.ply", limit=MESH_BYTES))

    def members(self, index: int) -> list[tuple[str, bytes, int]]:
        """Name, contents and compression of an object's files, as they are; ArchiveError, with its name: damaged."""
        record, folder = self.records[index], f"{self._indices[index]:06d}/"
        sheets = sheet_layout(record.views, *self.resolution).sheets
        names = [*(f"pictures-{sheet:03d}.webp" for sheet in range(sheets)), "cameras.npy"]
        with reading(f"{self.path}: object {record.name!r}", "whole pictures and cameras", ArchiveError):
            infos = self._opened().NameToInfo
            names += ["mesh.ply"] if f"{folder}mesh.ply" in infos else []
            return [
                (name, self._member(index, name, limit=OBJECT_BYTES), infos[folder + name].compress_type)
                for name in names
            ]

    def close(self) -> None:
        """Let go of the file; reading opens it again."""
        if self._zip is not None and self._process == os.getpid():
            self._zip.close()
        self._zip = None

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_zip": None}

    def __setstate__(self, state: Mapping) -> None:
        self.__dict__.update(state)

    def _opened(self) -> zipfile.ZipFile:
        if self._zip is None or self._process != os.getpid():  # a forked child must not share its parent's file offset
            self._zip = zipfile.ZipFile(self.path)
            self._process = os.getpid()
        return self._zip

    def _member(self, index: int, name: str, *, limit: int) -> bytes:
        return zip_member(self._opened(), f"{self._indices[index]:06d}/{name}", most=limit)

    def _manifest_bytes(self, members: Mapping[str, zipfile.ZipInfo]) -> bytes:
        for name in members:
            if name.startswith("/") or "\\" in name or ":" in name or ".." in PurePosixPath(name).parts:
                raise ArchiveError(f"members: wanted all inside the archive; got {name!r}, which reaches outside")
        if MANIFEST not in members:
            raise ArchiveError(f"members: wanted {MANIFEST} in the zip; got none; make one with `vader3d prepare`")
        return zip_member(self._opened(), MANIFEST, most=MANIFEST_BYTES)

"""Reads archives: objects on demand, nothing trusted."""

import hashlib
import io
import json
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
    MESH_BYTES,
    VERSION,
    ArchiveError,
    ObjectRecord,
    ObjectViews,
    broken_fields,
    cameras_from_rows,
    check_cameras,
    check_resolution,
    check_subsets,
    check_version,
    pictures_from_sheet,
    record_from_entry,
    sheet_layout,
    unknown_subset,
)

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
        members = {info.filename: info for info in self._opened().infolist()}
        manifest_bytes = self._checked_manifest_bytes(members)
        manifest = self._checked_manifest(manifest_bytes)
        self.title: str = str(manifest.get("title", ""))
        self.resolution: tuple[int, int] = tuple(manifest["resolution"])
        self.subsets: dict[str, tuple[int, ...]] = {k: tuple(v) for k, v in manifest["subsets"].items()}
        self.records: list[ObjectRecord] = [self._checked_record(entry) for entry in manifest["objects"]]
        self._indices: list[int] = list(range(len(self.records)))
        contents = sorted((name, info.CRC, info.file_size) for name, info in members.items())
        self.fingerprint: str = hashlib.sha256(manifest_bytes + repr(contents).encode()).hexdigest()

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

    def read(self, index: int) -> ObjectViews:
        """The pictures and cameras of one object; ArchiveError, with its name, when they are damaged."""
        record, (height, width) = self.records[index], self.resolution
        layout = sheet_layout(record.views, height, width)
        try:
            sheets = []
            for sheet in range(layout.sheets):
                views = layout.sheet_views(sheet, record.views)
                data = self._member(index, f"pictures-{sheet:03d}.webp", limit=5 * views * height * width + 4096)
                sheets.append(pictures_from_sheet(data, views, columns=layout.columns, height=height, width=width))
            data = self._member(index, "cameras.npy", limit=64 * record.views + 4096)
            with READING_HEADERS:
                rows = np.load(io.BytesIO(data), allow_pickle=False)
            if rows.shape != (record.views, 16) or rows.dtype != np.float32:
                raise ArchiveError(f"cameras: wanted float32 [{record.views}, 16]; got {rows.dtype} {rows.shape}")
            cameras = cameras_from_rows(rows, height, width)
            check_cameras(cameras, record.views)
        except (ValueError, EOFError, OSError) as error:
            raise ArchiveError(f"{self.path}: object {record.name!r}: {error}") from error
        return ObjectViews(np.concatenate(sheets), cameras)

    def true_mesh(self, index: int) -> "Trimesh | None":
        """The object's true surface as a trimesh.Trimesh, or None where the archive knows none."""
        if f"{self._indices[index]:06d}/mesh.ply" not in self._opened().NameToInfo:
            return None
        import trimesh

        data = self._member(index, "mesh.ply", limit=MESH_BYTES)
        try:
            return trimesh.load_mesh(io.BytesIO(data), file_type="ply", process=False)
        except Exception as error:  # trimesh raises whatever its parser meets
            raise ArchiveError(
                f"{self.path}: object {self.records[index].name!r}: mesh.ply: wanted a whole one; got damage ({error})"
            ) from error

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
            try:
                self._zip = zipfile.ZipFile(self.path)
            except zipfile.BadZipFile as error:
                raise ArchiveError(
                    f"{self.path}: wanted an archive; got another file, or one cut short ({error})"
                ) from error
            self._process = os.getpid()
        return self._zip

    def _member(self, index: int, name: str, *, limit: int) -> bytes:
        member = f"{self._indices[index]:06d}/{name}"
        opened = self._opened()
        try:
            size = opened.getinfo(member).file_size
            if size > limit:
                raise ArchiveError(f"{member}: wanted at most {limit} bytes; got {size}")
            return opened.read(member)
        except KeyError as error:
            raise ArchiveError(f"{member}: wanted in the archive; got none") from error
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
            raise ArchiveError(f"{member}: wanted a whole member; got a damaged one ({error})") from error

    def _checked_manifest_bytes(self, members: Mapping[str, zipfile.ZipInfo]) -> bytes:
        for name in members:
            if name.startswith("/") or "\\" in name or ":" in name or ".." in PurePosixPath(name).parts:
                raise ArchiveError(
                    f"{self.path}: wanted members inside the archive; got {name!r}, which reaches outside"
                )
        if MANIFEST not in members:
            raise ArchiveError(f"{self.path}: wanted {MANIFEST} in the zip; got none; make one with `vader3d prepare`")
        if members[MANIFEST].file_size > MANIFEST_BYTES:
            size = members[MANIFEST].file_size
            raise ArchiveError(f"{self.path}: {MANIFEST}: wanted at most {MANIFEST_BYTES} bytes; got {size}")
        try:
            return self._opened().read(MANIFEST)
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise ArchiveError(
                f"{self.path}: {MANIFEST}: wanted a whole member; got a damaged one ({error})"
            ) from error

    def _checked_manifest(self, data: bytes) -> dict:
        try:
            manifest = json.loads(data)
            check_version(manifest, FORMAT, VERSION)
            height, width = manifest["resolution"]
            check_resolution(int(height), int(width))
            check_subsets(manifest["subsets"], len(manifest["objects"]))
        except (KeyError, TypeError, AttributeError) as error:
            fields = "format, version, resolution, objects, subsets"
            raise ArchiveError(f"{self.path}: {MANIFEST}: {broken_fields(fields, error)}") from error
        except ValueError as error:
            raise ArchiveError(f"{self.path}: {error}") from error
        return manifest

    def _checked_record(self, entry: Mapping) -> ObjectRecord:
        try:
            return record_from_entry(entry, self.resolution)
        except ArchiveError as error:
            raise ArchiveError(f"{self.path}: {error}") from error

"""Writes archives: all of one, or nothing."""

import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from vader3d.data.archive.format import (
    FORMAT,
    MANIFEST,
    OBJECT_BYTES,
    VERSION,
    ArchiveError,
    ObjectRecord,
    cameras_to_rows,
    check_cameras,
    check_name,
    check_resolution,
    pictures_to_sheet,
    sheet_layout,
)
from vader3d.files import remove_leftovers
from vader3d.geometry.cameras import Cameras


class ArchiveWriter:
    """`with ArchiveWriter(path, title=..., resolution=(H, W)) as writer: writer.add(...)`.

    Writes beside `path` under a temporary name and takes the place of `path` only at the end of a `with` that ended
    well; an error or Ctrl-C leaves whatever stood there, and what a kill left is deleted by the next writer. The same
    objects in the same order give the same bytes.
    `quality` is WebP's: 100 is lossless, 85-95 are small.
    """

    def __init__(self, path: str | Path, *, title: str, resolution: tuple[int, int], quality: int = 100):
        check_resolution(*resolution)
        self.path, self.title, self.resolution, self.quality = Path(path), title, tuple(resolution), quality
        self.records: list[ObjectRecord] = []
        self.subsets: dict[str, list[int]] = {}
        self._names: set[str] = set()
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        if self.path.is_dir():
            raise ArchiveError(f"output: a file's name wanted, {self.path} is a folder; give e.g. {self.path}/data.zip")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.path.parent, self.path.name)
        self._file = open(self._temporary, "wb")  # noqa: SIM115 (closed by __exit__)
        self._zip = zipfile.ZipFile(self._file, "w")

    def add(
        self,
        name: str,
        caption: str,
        pictures: np.ndarray,
        cameras: Cameras,
        *,
        category: str = "",
        tags: Sequence[str] = (),
        creator: str = "",
        licence: str = "",
        source: str = "",
        mesh=None,
    ) -> int:
        """Append one object and return its index.

        pictures: uint8 [V, H, W, 4], straight alpha; cameras [V]; mesh: a trimesh.Trimesh in the cameras' world.
        ValueError for a name that is taken or unfit, and for pictures or cameras that no archive may hold.
        """
        check_name(name)
        if name in self._names:
            raise ValueError(f"name: {name!r} is in the archive already; names must differ")
        height, width = self.resolution
        if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[1:] != (height, width, 4):
            raise ValueError(
                f"pictures: uint8 [V, {height}, {width}, 4] wanted, {pictures.dtype} {pictures.shape} given"
            )
        if not 0 < pictures.nbytes <= OBJECT_BYTES:
            raise ValueError(f"pictures: 1 view to {OBJECT_BYTES} bytes in all wanted, {pictures.shape} given")
        views = len(pictures)
        check_cameras(cameras, views)
        index = len(self.records)
        layout = sheet_layout(views, height, width)
        for sheet in range(layout.sheets):
            first = sheet * layout.views_per_sheet
            part = pictures[first : first + layout.sheet_views(sheet, views)]
            data = pictures_to_sheet(part, columns=layout.columns, quality=self.quality)
            self._write(f"{index:06d}/pictures-{sheet:03d}.webp", data)
        rows = io.BytesIO()
        np.save(rows, cameras_to_rows(cameras), allow_pickle=False)
        self._write(f"{index:06d}/cameras.npy", rows.getvalue())
        if mesh is not None:
            self._write(f"{index:06d}/mesh.ply", mesh.export(file_type="ply"), zipfile.ZIP_DEFLATED)
        self.records.append(
            ObjectRecord(name, caption, category, tuple(tags), views, creator=creator, licence=licence, source=source)
        )
        self._names.add(name)
        return index

    def set_subsets(self, subsets: Mapping[str, Sequence[int]]) -> None:
        """Name selections of objects, each a list of indices as `add` returned them."""
        for name, indices in subsets.items():
            if wrong := [i for i in indices if not 0 <= i < len(self.records)]:
                raise ValueError(f"subsets: {name!r} names object {wrong[0]}; the archive holds {len(self.records)}")
        self.subsets = {name: list(indices) for name, indices in subsets.items()}

    def __enter__(self) -> "ArchiveWriter":
        return self

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._zip.fp = None  # an abandoned ZipFile would write its directory on the way out
            self._file.close()
            self._temporary.unlink(missing_ok=True)

    def _finish(self) -> None:
        if not self.records:
            raise ArchiveError(f"{self.path}: no object was added, so no archive is written")
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "title": self.title,
            "resolution": list(self.resolution),
            "objects": [asdict(record) for record in self.records],
            "subsets": self.subsets,
        }
        text = json.dumps(manifest, ensure_ascii=False, indent=1)
        self._write(MANIFEST, text.encode(), zipfile.ZIP_DEFLATED)
        try:
            self._zip.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._temporary, self.path)
        except OSError as error:
            raise ArchiveError(f"{self.path}: cannot be written ({error.strerror}); nothing was changed") from error

    def _write(self, member: str, data: bytes, compression: int = zipfile.ZIP_STORED) -> None:
        info = zipfile.ZipInfo(member)  # 1980: the bytes depend on the contents alone
        info.compress_type = compression
        info.external_attr = 0o644 << 16
        try:
            self._zip.writestr(info, data)
        except OSError as error:
            raise ArchiveError(f"{self.path}: cannot be written ({error.strerror}); nothing was changed") from error

"""Writes archives: all of one, or nothing."""

import io
import json
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np

from vader3d.data.archive.format import (
    FORMAT,
    MANIFEST,
    VERSION,
    ArchiveError,
    ObjectRecord,
    cameras_to_rows,
    contents_of,
    entry_from_record,
    pictures_to_sheet,
    sheet_layout,
)
from vader3d.data.archive.reader import Archive
from vader3d.data.dataset import DataSet
from vader3d.data.writer import PreparedObject, Writer, read_object
from vader3d.files import discard, held, put_in_place, temporary_name, writing
from vader3d.untrusted import check_json


class ArchiveWriter(Writer):
    """Writes beside `path` under a temporary name, which takes the place of `path` when it is whole.

    Errors leave whatever stood there. OSError, which names `path`, when it cannot be written.
    """

    def __init__(self, path: str | Path, *, title: str, resolution: tuple[int, int], quality: int = 100):
        super().__init__(path, title=title, resolution=resolution, quality=quality)
        if self.path.is_dir():
            raise ArchiveError(f"output: wanted a file's name; got the folder {path}; give e.g. {self.path}/data.zip")
        self.temporary = temporary_name(self.path)
        with ExitStack() as hold:
            hold.enter_context(held(self.path.parent, self.path.name))
            with writing(self.path):
                self.file = open(self.temporary, "wb")  # noqa: SIM115 (closed by close)
            self.zip = zipfile.ZipFile(self.file, "w")
            self.hold = hold.pop_all()

    def files_of(self, prepared: PreparedObject) -> list[tuple[str, bytes, int]]:
        return encoded_files(prepared, quality=self.quality)

    def write(self, record: ObjectRecord, files: Sequence[tuple[str, bytes, int]]) -> None:
        for name, data, compression in files:
            self.write_member(f"{len(self.records):06d}/{name}", data, compression)

    def publish(self) -> None:
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "title": self.title,
            "resolution": list(self.resolution),
            "objects": [entry_from_record(record) for record in self.records],
            "subsets": self.subsets,
        }
        if self.fingerprint:
            members = ((info.filename, info.CRC, info.file_size) for info in self.zip.infolist())
            manifest["pictures"] = {"contents": contents_of(members), "fingerprint": self.fingerprint}
        text = json.dumps(manifest, ensure_ascii=False, indent=1).encode()
        try:
            check_json(text)
        except ValueError as error:
            count = len(self.records)
            raise ArchiveError(
                f"{self.path}: wanted fewer objects; got {count} ({error}); write shards: --objects-per-shard"
            ) from error
        self.write_member(MANIFEST, text, zipfile.ZIP_DEFLATED)
        with writing(self.path):
            self.zip.close()
            self.file.close()
            self.bytes = self.temporary.stat().st_size
            put_in_place(self.temporary, self.path)

    def close(self) -> None:
        self.zip.fp = None  # an abandoned ZipFile would write its directory on the way out
        with self.hold:
            with suppress(OSError):  # of what a full disk did not take
                self.file.close()
            discard(self.temporary)

    def write_member(self, name: str, data: bytes, compression: int = zipfile.ZIP_STORED) -> None:
        info = zipfile.ZipInfo(name)  # 1980: the bytes depend on the contents alone
        info.compress_type = compression
        info.external_attr = 0o644 << 16
        with writing(self.path):
            self.zip.writestr(info, data)


def encoded_files(prepared: PreparedObject, *, quality: int = 100) -> list[tuple[str, bytes, int]]:
    """Name, contents and compression of an object's files in an archive."""
    views, height, width = prepared.pictures.shape[:3]
    layout, files = sheet_layout(views, height, width), []
    for sheet in range(layout.sheets):
        first = sheet * layout.views_per_sheet
        part = prepared.pictures[first : first + layout.sheet_views(sheet, views)]
        data = pictures_to_sheet(part, columns=layout.columns, quality=quality)
        files.append((f"pictures-{sheet:03d}.webp", data, zipfile.ZIP_STORED))
    rows = io.BytesIO()
    np.save(rows, cameras_to_rows(prepared.cameras), allow_pickle=False)
    files.append(("cameras.npy", rows.getvalue(), zipfile.ZIP_STORED))
    if prepared.mesh is not None:
        files.append(("mesh.ply", prepared.mesh.export(file_type="ply"), zipfile.ZIP_DEFLATED))
    return files


def archive_files(data: DataSet, index: int) -> list[tuple[str, bytes, int]]:
    """The same of another data set's object, an archive's as they are; ArchiveError: it is damaged."""
    return data.members(index) if isinstance(data, Archive) else encoded_files(read_object(data, index))

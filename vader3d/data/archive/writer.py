"""Writes archives: all of one, or nothing."""

import io
import json
import zipfile
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
from vader3d.data.writer import PreparedObject, Writer
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

    def write(self, index: int, prepared: PreparedObject) -> None:
        views, (height, width) = len(prepared.pictures), self.resolution
        layout = sheet_layout(views, height, width)
        for sheet in range(layout.sheets):
            first = sheet * layout.views_per_sheet
            part = prepared.pictures[first : first + layout.sheet_views(sheet, views)]
            data = pictures_to_sheet(part, columns=layout.columns, quality=self.quality)
            self.write_member(f"{index:06d}/pictures-{sheet:03d}.webp", data)
        rows = io.BytesIO()
        np.save(rows, cameras_to_rows(prepared.cameras), allow_pickle=False)
        self.write_member(f"{index:06d}/cameras.npy", rows.getvalue())
        if prepared.mesh is not None:
            data = prepared.mesh.export(file_type="ply")
            self.write_member(f"{index:06d}/mesh.ply", data, zipfile.ZIP_DEFLATED)

    def copy(self, data: DataSet, index: int, record: ObjectRecord) -> int:
        if not isinstance(data, Archive) or data.resolution != self.resolution:
            return super().copy(data, index, record)
        self.check(record)
        for name, contents, compression in data.members(index):
            self.write_member(f"{len(self.records):06d}/{name}", contents, compression)
        return self.note(record)

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

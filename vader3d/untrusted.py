"""What others wrote: whatever is wrong with it ends as one line.

Parsers raise whatever they meet in damaged or hostile bytes. `reading` makes of all of it one error that names the
file; the other functions read the kinds of files that many rooms share, within limits that are checked before parsing.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO, Any, cast

JSON_BYTES, JSON_VALUES = 2**27, 2**23  # of one document: half a million objects, at most 1 GB when parsed
PIECE_BYTES = 2**20
TEXT_BYTES = 2**20  # of a caption, a pose, a list of names
ZIP_RATIO, ZIP_FREE_BYTES = 250, 2**20  # unpacked bytes a packed one, beyond the first ones; ours stay under 60
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others unpack without bounds
UNPACKED_BYTES = 2**36  # of a whole zip
LONGEST_REASON = 300  # letters
HEIC = (b"heic", b"heix", b"heim", b"hevc", b"mif1", b"msf1")  # what iPhones' pictures begin with
BOMS_16 = (b"\xff\xfe", b"\xfe\xff")


@contextmanager
def reading(place: object, wanted: str = "a whole file", kind: type[ValueError] = ValueError) -> Iterator[None]:
    """Whatever parsing raises in here ends as one `kind`, one line that begins with `place`.

    Sentences of the house (`name: wanted X; got Y`) are kept, what parsers say stands behind `wanted`. OSErrors that
    name a file pass: nothing is known of its bytes. What downloads leave in a file's stead is told.
    """
    try:
        yield
    except Exception as error:
        passes = isinstance(error, kind) and str(error).startswith(str(place))
        if passes or (isinstance(error, OSError) and error.filename is not None):
            raise
        reason = reason_of(error)
        if other := stand_in(place):
            raise kind(f"{place}: wanted {wanted}; got {other}") from error
        if isinstance(error, (ValueError, KeyError)) and "wanted " in reason:
            raise kind(f"{place}: {reason}") from error
        raise kind(f"{place}: wanted {wanted}; got a damaged or foreign one ({reason})") from error


def stand_in(place: object) -> str:
    """What lies where a file should, and how to mend it; "" where it may be that file."""
    if not isinstance(place, Path) or not place.is_file():
        return ""
    with open(place, "rb") as file:
        start = file.read(64).lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS; fetch the file itself (git lfs pull)"
    if start.startswith((b"<!doctype html", b"<html")):
        return "a page of HTML, as of a failed download; fetch the file again"
    if start[4:8] == b"ftyp" and start[8:12] in HEIC:
        return "HEIC; save it as JPEG or PNG"
    return "an empty file; fetch it again" if not start else ""


def reason_of(error: Exception) -> str:
    """What an error says, in one printable line; its kind where it is no ValueError, whose words explain themselves."""
    said = str(error)  # a parser may list all that it found, over gigabytes
    words = "".join(letter if letter.isprintable() else " " for letter in said[: 4 * LONGEST_REASON])
    text = " ".join(words.split())
    if len(text) > LONGEST_REASON or len(said) > 4 * LONGEST_REASON:
        text = f"{text[:LONGEST_REASON]}..."
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}".removesuffix(": ")


def read_bytes(path: Path, *, most: int) -> bytes:
    """A whole file. ValueError: it is longer than `most` bytes."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size  # reading takes memory for all that is asked for; 0 of what is no file
        data = file.read(min(most, size or PIECE_BYTES) + 1)
        while not size and len(data) <= most and (more := file.read(PIECE_BYTES)):
            data += more
    if len(data) > most:
        raise ValueError(f"{path}: wanted at most {most} bytes; got more")
    return data


class BoundedFile(io.BufferedReader):
    """A file whose reads take memory for no more than it has: parsers ask for what its headers say."""

    def __init__(self, path: Path):
        self.path = path
        super().__init__(io.FileIO(path))

    def __repr__(self) -> str:
        return repr(str(self.path))

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, os.fstat(self.fileno()).st_size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


def read_text(path: Path) -> str:
    """A short text in UTF-8 or UTF-16. ValueError names the file that is another."""
    with reading(path, "text in UTF-8"):
        return text_of(read_bytes(path, most=TEXT_BYTES))


def text_of(data: bytes) -> str:
    """In UTF-8, or in UTF-16 where its first two bytes say so, as Windows saves; UnicodeDecodeError for another."""
    return data.decode("utf-16" if data[:2] in BOMS_16 else "utf-8-sig")


def read_json(path: Path, wanted: str = "JSON") -> Any:
    """A JSON document. ValueError names the file that is none."""
    with reading(path, wanted):
        return parsed_json(read_bytes(path, most=JSON_BYTES))


def parsed_json(data: bytes) -> Any:
    """The document; ValueError for one that `check_json` refuses, or that is none."""
    check_json(data)
    return json.loads(data)


def check_json(data: bytes) -> None:
    """ValueError for a document that is larger than ours ever are, before it fills memory."""
    values = sum(data.count(mark) for mark in (b",", b"[", b"{"))
    if len(data) > JSON_BYTES or values > JSON_VALUES:
        raise ValueError(
            f"JSON: wanted at most {JSON_BYTES} bytes and {JSON_VALUES} values; got {len(data)} and {values}"
        )


def zip_member(opened: zipfile.ZipFile, name: str, *, most: int) -> bytes:
    """A file of a zip; ValueError for one of more than `most` bytes, packed too tightly, absent, or damaged."""
    with reading(name, "a whole member"):
        if name not in opened.NameToInfo:
            raise ValueError(f"{name}: wanted in the archive; got none")
        info = opened.getinfo(name)
        if info.compress_type not in ZIP_METHODS:
            raise ValueError(f"{name}: wanted stored or deflated; got compression {info.compress_type}")
        if info.file_size > min(most, ZIP_FREE_BYTES + ZIP_RATIO * info.compress_size):
            raise ValueError(
                f"{name}: wanted at most {most} bytes, {ZIP_RATIO} a packed one; got {info.file_size} of "
                f"{info.compress_size}"
            )
        with opened.open(info) as member:  # never unpacks more than the size it declares
            data = member.read(info.file_size)
        if len(data) != info.file_size:
            raise ValueError(f"{name}: wanted {info.file_size} bytes; got {len(data)}, it is cut short")
    return data


def unpack(path: Path, place: Path, *, most: int) -> None:
    """A zip's or tar's files into `place`; ValueError: more than `most` bytes, names that lead elsewhere, damage."""
    if path.name.lower().endswith(".zip"):
        unpack_zip(path, place, most=most)
    else:
        unpack_tar(path, place, most=min(most, ZIP_FREE_BYTES + ZIP_RATIO * path.stat().st_size))


def unpack_zip(path: Path, place: Path, *, most: int) -> None:
    with reading(path, "a zip"), zipfile.ZipFile(path) as opened:
        files = [info for info in opened.infolist() if not info.is_dir() and not is_litter(PurePath(info.filename))]
        if (size := sum(info.file_size for info in files)) > most:
            raise ValueError(f"zip: wanted at most {most} bytes unpacked; got {size}; unpack it yourself")
        for info in files:
            data = zip_member(opened, info.filename, most=min(most, JSON_BYTES * 8))
            inner_place(place, info.filename).write_bytes(data)


def unpack_tar(path: Path, place: Path, *, most: int) -> None:
    """Links and devices are left out."""
    with reading(path, "a tar"), open_packed(path) as packed, open_tar(Bounded(packed, most)) as opened:
        for info in opened:
            member = opened.extractfile(info) if info.isfile() and not is_litter(PurePath(info.name)) else None
            if member is not None:
                with open(inner_place(place, info.name), "wb") as file:
                    shutil.copyfileobj(member, file)


def open_tar(file: Any) -> tarfile.TarFile:
    """Of what only has `read`."""
    return tarfile.open(fileobj=file, mode="r|")


def open_packed(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked if its first ones say that it is packed."""
    with open(path, "rb") as file:
        start = file.read(6)
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(path))
    if start.startswith(b"BZh"):
        return bz2.open(path)
    return lzma.open(path) if start.startswith(b"\xfd7zXZ\0") else open(path, "rb")


class Bounded:
    """A file that gives so many bytes; ValueError where more are read."""

    def __init__(self, file: IO[bytes], most: int):
        self.file, self.left, self.most = file, most, most

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise ValueError(f"tar: wanted at most {self.most} bytes unpacked; got more; unpack it yourself")
        return data


def inner_place(place: Path, name: str) -> Path:
    """Where a packed file goes, its folder made; ValueError for a name that leads elsewhere."""
    target = place / name.replace("\\", "/")
    if not target.resolve().is_relative_to(place.resolve()):
        raise ValueError(f"names: wanted those of files in it; got {name!r}")
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def is_litter(path: PurePath) -> bool:
    """Whether a file is none of anybody's: macOS's ._ beside every file, and folders of such."""
    return any(part.startswith("._") or part in ("__MACOSX", ".DS_Store") for part in path.parts)

"""Bytes of files in one place: a folder, or a URL through fsspec."""

import time
from pathlib import Path

RETRIES, FIRST_PAUSE_SECONDS = 3, 0.5


class Unreachable(OSError):
    """A place that gave no answer, asked several times."""


def is_url(place: str | Path) -> bool:
    """Whether fsspec has to read it: s3://, https://, gs://, memory://, ..."""
    return "://" in str(place)


def open_storage(place: str | Path) -> "FolderStorage | UrlStorage":
    """What reads the files right under `place`."""
    return UrlStorage(str(place)) if is_url(place) else FolderStorage(Path(place))


class FolderStorage:
    """Files of a local folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes:
        """Bytes [start, end) of a file, fewer where it is shorter; FileNotFoundError where there is none."""
        try:
            with open(self.folder / name, "rb") as file:
                file.seek(start)
                return file.read(-1 if end is None else end - start)
        except IsADirectoryError as error:
            raise FileNotFoundError(error.errno, "wanted a file; got a folder", error.filename) from error


class UrlStorage:
    """Files under a URL, each read one ranged request; safe to share by threads. Credentials: the environment's."""

    def __init__(self, url: str):
        try:
            import fsspec
        except ImportError as error:
            raise ImportError(
                f"{url}: wanted fsspec, which reads URLs; got none; pip install 'vader3d[shards]'"
            ) from error
        self.url = url.rstrip("/")
        try:
            self.files, self.folder = fsspec.core.url_to_fs(self.url)
        except ImportError as error:
            raise ImportError(
                f"{url}: wanted a package for it; got none ({error}); pip install 'vader3d[shards]'"
            ) from error
        except ValueError as error:
            raise ValueError(f"{url}: wanted a protocol that fsspec knows; got another ({error})") from error

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes:
        """As FolderStorage's; three more tries for what may pass, then Unreachable."""
        for attempt in range(RETRIES + 1):
            try:
                data = self.files.cat_file(f"{self.folder}/{name}", start=start or None, end=end)
                break
            except FileNotFoundError:
                raise
            except Exception as error:  # each file system has its own
                if getattr(error, "status", None) == 416 or "InvalidRange" in str(error):
                    return b""  # the file ends before `start`
                if attempt == RETRIES:
                    raise Unreachable(
                        f"{self.url}/{name}: wanted its bytes; got {type(error).__name__}: {error}"
                    ) from error
                time.sleep(FIRST_PAUSE_SECONDS * 2**attempt)
        if end is not None and len(data) > end - start:
            return data[start:end]  # an HTTP server that knows no ranges sends all of the file
        return data

"""The compiled library: found, built, or done without."""

import ctypes
import functools
import importlib.util
import logging
import sys
from pathlib import Path

from vader3d.files import cache_folder, discard, held, put_in_place, temporary_name, writing
from vader3d.native import build

log = logging.getLogger("vader3d.render")
INT64, DOUBLE, POINTER = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p


@functools.cache
def library() -> tuple[ctypes.CDLL | None, str | None]:
    """march.cpp, compiled: from the wheel, else from the user's cache, else built now; or None and why not."""
    try:
        path = find_or_build()
        share_openmp()
        found = ctypes.CDLL(str(path))
    except (OSError, RuntimeError) as error:
        log.warning("volume rendering falls back to plain torch, which is many times slower: %s", error)
        return None, str(error)
    found.vader3d_pack.argtypes = found.vader3d_unpack.argtypes = [*[POINTER] * 4, INT64, INT64]
    found.vader3d_lengths.argtypes = [POINTER, INT64, POINTER, INT64]
    found.vader3d_nearest.argtypes = [POINTER, INT64, POINTER, INT64, POINTER, POINTER]
    found.vader3d_expect_touching.argtypes = [POINTER, INT64]
    found.vader3d_empty_bricks.argtypes = [POINTER, POINTER, POINTER, DOUBLE, POINTER, POINTER, POINTER, INT64]
    return found, None


def find_or_build() -> Path:
    """The wheel's library, else the cache's, else built into the cache now. RuntimeError or OSError: why not."""
    if build.LIBRARY.exists():
        return build.LIBRARY
    compiler = build.find_compiler()
    if compiler is None:
        raise RuntimeError("compiler: wanted g++, c++ or clang++; got no C++ compiler; install g++, or name one in CXX")
    path = cache_folder() / build.build_name(compiler)
    if not build.is_whole(path):
        with held(path.parent, path.name, wait=True):
            if not build.is_whole(path):  # by another process, meanwhile
                build_into(path, compiler)
    return path


def build_into(path: Path, compiler: str) -> None:
    """Compiled, sealed, synced, and only then under its name."""
    temporary = temporary_name(path)
    try:
        build.compile_march(temporary, compiler)
        with writing(path):
            build.seal(temporary)
            put_in_place(temporary, path)
    finally:
        discard(temporary)


def compiled() -> ctypes.CDLL:
    """The library, for calls that `why_not` has let through."""
    found, reason = library()
    assert found is not None, reason
    return found


def share_openmp() -> None:
    """Make the OpenMP runtime that torch uses visible to march.so, so that both share one pool of threads."""
    if sys.platform == "darwin":
        torch_folder = Path(importlib.util.find_spec("torch").origin).parent  # type: ignore[union-attr, arg-type]
        ctypes.CDLL(str(torch_folder / "lib" / "libomp.dylib"), mode=ctypes.RTLD_GLOBAL)
        return
    try:
        loaded = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    except OSError:
        loaded = set()
    runtimes = sorted(path for path in loaded if Path(path).name.startswith(("libgomp", "libiomp5", "libomp")))
    ctypes.CDLL(runtimes[0] if runtimes else "libgomp.so.1", mode=ctypes.RTLD_GLOBAL)

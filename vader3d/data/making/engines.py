"""Where parts of a data set are made: here, or on a Dask cluster."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from vader3d.data.making.work import Work


class AtOnce(Executor):
    """Does what is submitted there and then."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_result(function(*arguments, **options))
        return future


@contextmanager
def engine_of(work: Work, processes: int, *, seconds: float = 30.0) -> Iterator[Executor]:
    """What maps a function over parts. ImportError, OSError: no such cluster.

    seconds: that a cluster has to answer. Of this machine: threads, each of which asks a crew's processes; with one
    process the caller's own.
    """
    if work.is_cluster:
        try:
            from distributed import Client
        except ImportError as error:
            raise ImportError(f"engine: wanted dask; got none ({error}); pip install 'vader3d[cluster]'") from error
        with Client(f"tcp://{work.engine.removeprefix('dask://')}", timeout=seconds) as client:
            yield client.get_executor(pure=False)
    elif processes > 1:
        with ThreadPoolExecutor(processes, "part") as threads:
            yield threads
    else:
        yield AtOnce()

"""Many processes, of this machine and of a Dask cluster, give the bytes that one gives."""

import pytest
from making import CRASHES, EXITS, bytes_of, jobs_of, output_in

from vader3d.data.making.conversion import Work, convert
from vader3d.data.making.engines import engine_of

WHY = "Dask is not installed: pip install 'vader3d[cluster]'"
VALUES = [1, 2, CRASHES, 4, 5, 6, 7, 8, EXITS, 10, 11, 12]


def made(folder, work=None, processes=1, values=VALUES):
    report = convert(jobs_of(values), output_in(folder, 4), processes=processes, work=work)
    return report, bytes_of(folder / "out.zip")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process; with those that end it left out beforehand."""
    values = [0 if value in (CRASHES, EXITS) else value for value in VALUES]
    return made(tmp_path_factory.mktemp("alone"), values=values)


def check(alone, several):
    assert several[1] == alone[1]
    assert several[0].objects == 10
    assert [line.split(",")[0] for line in several[0].skipped] == [
        "thing 2: process: wanted it to make the object; got its death (SIGSEGV)",
        "thing 8: process: wanted it to make the object; got its death (exit code 1; out of memory?)",
    ]
    assert [line.rpartition(": ")[2] for line in several[0].skipped] == [
        "last words of thing 2",
        "last words of thing 8",
    ]


def test_processes_of_this_machine(alone, tmp_path):
    check(alone, made(tmp_path, processes=2))


@pytest.mark.slow
def test_eight_processes_of_this_machine(alone, tmp_path):
    check(alone, made(tmp_path, processes=8))


def test_a_dask_cluster_of_processes_whose_workers_join_and_leave(alone, tmp_path):
    distributed = pytest.importorskip(
        "distributed", reason="distributed is not installed: pip install 'vader3d[cluster]'"
    )
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=str(tmp_path)
    ) as cluster:
        cluster.scale(1)
        work = Work(cluster.scheduler_address.replace("tcp://", "dask://"))
        check(alone, made(tmp_path / "data", work))


def test_a_cluster_that_is_not_there_is_an_error():
    pytest.importorskip("distributed", reason=WHY)
    with pytest.raises(OSError, match="Timed out"), engine_of(Work("dask://127.0.0.1:9"), 1, seconds=1):
        pass

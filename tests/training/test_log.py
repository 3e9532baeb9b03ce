"""Numbers on the disk."""

from PIL import Image

from vader3d.training.log import MetricLog, log_once, read_metrics


def test_numbers_are_kept_and_lines_after_the_state_dropped(tmp_path):
    log = MetricLog(tmp_path, objects_seen=0)
    for objects_seen in (4, 8, 12):
        log.write(objects_seen, {"loss": 1 / objects_seen})
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"seen": 16, "lo')  # a kill cut the last line short
    assert [line["seen"] for line in read_metrics(tmp_path)] == [4, 8, 12]
    log = MetricLog(tmp_path, objects_seen=8)
    log.write(12, {"loss": 7.0})
    log.close()
    assert [(line["seen"], line["loss"]) for line in read_metrics(tmp_path)] == [(4, 0.25), (8, 0.125), (12, 7.0)]


def test_damaged_lines_are_dropped_and_do_not_block_the_run(tmp_path):
    lines = [
        b'{"seen": 4, "loss": 0.5}',
        b'{"seen": 8, "lo\xf3s": 0.5}',
        b'{"seen": 8, "loss": "x"}',
        b"[" * 10**5,
        b"7",
    ]
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([*lines, b'{"seen": 12, "loss": 0.25}', b""]))
    log = MetricLog(tmp_path, objects_seen=12)
    log.close()
    assert [line["seen"] for line in read_metrics(tmp_path)] == [4, 12]


def test_what_is_known_at_the_end_is_written_once_at_every_end(tmp_path):
    for seen in (10, 20):  # the second time the run goes on
        log = MetricLog(tmp_path, objects_seen=seen - 10)
        log.write(seen, {"loss": 1.0})
        log.close()
        for _ in range(2):
            log_once(tmp_path, {"psnr": float(seen)})
    assert [line["psnr"] for line in read_metrics(tmp_path) if "psnr" in line] == [10.0, 20.0]


def test_no_log_no_lines(tmp_path):
    assert read_metrics(tmp_path) == []


def test_scalars_and_pictures_reach_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = MetricLog(tmp_path, objects_seen=0)
    log.write(4, {"loss": 0.5})
    log.picture("preview", Image.new("RGBA", (8, 6)), 4)
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(4, 0.5)]
    assert (events.Images("preview")[0].width, events.Images("preview")[0].height) == (8, 6)

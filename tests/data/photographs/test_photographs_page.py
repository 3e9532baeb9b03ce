"""docs/photos.md: its commands, on two small objects, end in new objects."""

import re
import shlex
from pathlib import Path

import pytest
from photographed import wall_session, write_posed_photos
from tiny import THINGS, ring

from vader3d.cli.main import main

PHOTOS, CLIPS = (
    (Path(__file__).parents[3] / "docs" / "photos.md").read_text(encoding="utf-8").split("## Clips of moving subjects")
)
QUICK = {
    "photos": ["--processes", "1"],
    "autodecoder": ["--preset", "tiny", "--set", "loop.objects_seen=4"],
    "diffusion": ["--preset", "tiny", "--set", "loop.objects_seen=8"],
    "generate": ["--steps", "2"],
}


def commands():
    blocks = re.findall(r"^```\n(.*?)^```", PHOTOS, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("vader3d ")]


def test_every_command_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("blue box", "yellow tower")):
        write_posed_photos(Path("photos", name), wall_session(THINGS[name], ring(8, 64), seed=seed))
    said = commands()
    assert len(said) == 5
    for line in said:
        words = shlex.split(
            line.replace("--minutes 20", "").replace("--size 64", "--size 16").replace("--count 8", "--count 1")
        )
        main(words[1:] + next((more for name, more in QUICK.items() if name in words), []))
    assert Path("my.zip.photos/index.html").is_file()
    assert list(Path("assets").glob("*.glb"))


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (command, option)
        for command, text in (("photos", PHOTOS), ("video", CLIPS))
        for option in re.findall(r"`(--[a-z-]+)", text)
    ],
)
def test_every_option_of_the_page_exists(command, option, capsys):
    with pytest.raises(SystemExit):
        main(["prepare", command, "--help"])
    assert option in capsys.readouterr().out

"""`vader3d generate` as it is typed: prompts of files, edits, what cannot go together."""

import json

import pytest

from vader3d.cli.main import main

BOX = ["-1", "-1", "-1", "1", "1", "0"]
FAST = ("--count", "1", "--formats", "safetensors", "--device", "cpu", "--format", "json")


@pytest.fixture
def generate(tmp_path, capsys):
    """Runs the command with the model that ships; gives what it lists, and what it says."""

    def run(*more: str) -> tuple[list[dict], str]:
        main(["generate", "--output", str(tmp_path / "made"), *FAST, *more])
        said = capsys.readouterr()
        return json.loads(said.out), said.err

    return run


def refused(capsys, *more: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["generate", *more])
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_a_file_without_prompts_or_none_at_all_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "blank.txt").write_text("\n  \n")
    (tmp_path / "bad.txt").write_bytes(b"a chair\n\xff\xfe\n")
    wanted = "error: prompts_file: wanted a text file with a prompt a line; got"
    assert refused(capsys, "--prompts-file", "nothing.txt") == f"{wanted} nothing.txt, which is none\n"
    assert refused(capsys, "--prompts-file", ".") == f"{wanted} ., which is none\n"
    assert refused(capsys, "--prompts-file", "blank.txt").startswith("error: blank.txt: wanted at least 1 prompt")
    assert refused(capsys, "--prompts-file", "bad.txt").startswith("error: bad.txt: line 2: wanted text in UTF-8")
    assert {path.name for path in tmp_path.iterdir()} == {"blank.txt", "bad.txt"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--again", "a.glb", "--prompt", "a chair"], "again: wanted it without prompt; got both"),
        (["--again", "a.glb", "--vary", "b.glb"], "again: wanted it without vary; got both"),
        (["--interpolate", "1", "2", "--prompt", "a chair"], "interpolate: wanted it without prompt; got both"),
        (["--vary", "a.glb", "--interpolate", "1", "2"], "vary: wanted it without interpolate; got both"),
        (["--keep-box", *BOX], "keep_box: wanted a generated file beside it; got none"),
        (["--again", "a.glb", "--keep-box", *BOX], "keep_box: wanted a generated file beside it"),
    ],
)
def test_what_cannot_go_together_is_refused(capsys, more, said):
    assert refused(capsys, *more).startswith(f"error: {said}")


def test_prompts_of_a_file_ends_of_a_way_and_signs_alone_are_heeded(tmp_path, generate):
    (tmp_path / "prompts.txt").write_text("\ufeffa red stool\r\n\r\na white table\r\n", encoding="utf-8")
    made, said = generate("--prompts-file", str(tmp_path / "prompts.txt"), "--steps", "1")
    assert [each["prompt"] for each in made] == ["a red stool", "a white table"]
    assert "not learned" not in said
    _, said = generate("--interpolate", "a red chair", "a blue zorb", "--frames", "2", "--steps", "1")
    assert "prompt 'a blue zorb': not learned, left out: zorb" in said
    _, said = generate("--interpolate", "1", "2", "--frames", "2", "--steps", "1")
    assert "not learned" not in said
    _, said = generate("--prompt", "🪑", "--steps", "1")
    assert "prompt '🪑': not learned, left out: 🪑" in said


def test_of_many_remarks_the_first_are_said(tmp_path, generate):
    (tmp_path / "prompts.txt").write_text("".join(f"a red zorb{number}\n" for number in range(18)))
    _, said = generate("--prompts-file", str(tmp_path / "prompts.txt"), "--steps", "1")
    assert said.count("not learned") == 16
    assert "\nand 2 more such lines\n" in said


def test_each_prompt_varies_a_file(tmp_path, generate):
    made, _ = generate("--prompt", "a red chair", "--steps", "2")
    file = made[0]["files"][0]
    varied, _ = generate("--vary", file, "--prompt", "a blue chair", "--prompt", "a green chair", "--strength", ".5")
    assert [(each["prompt"], each["steps"]) for each in varied] == [("a blue chair", 2), ("a green chair", 2)]
    same, _ = generate("--vary", file, "--strength", ".5")
    assert same[0]["prompt"] == "a red chair"
    assert len({each["name"] for each in (*made, *varied, *same)}) == 4

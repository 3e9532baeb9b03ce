"""Captions of files in every layout, and what is wrong with others."""

import json

import pytest

from vader3d.captions import Caption, captions_beside, joined, read_captions

LAYOUTS = {
    "plain.csv": 'a,red chair\nb,"table, round"\na,armchair\n',
    "heading.csv": 'Caption,extra,UID\nred chair,1,a\n"table, round",2,b\narmchair,3,a\n',
    "semicolons.csv": "a;red chair\nb;table, round\na;armchair\n",
    "tabs.csv": "object_id\tprompt\na\tred chair\nb\ttable, round\na\tarmchair\n",
    "tabs.tsv": "a\tred chair\nb\ttable, round\na\tarmchair\n",
    "lines.jsonl": '{"name": "a", "captions": ["red chair", "armchair"]}\n\n{"id": "b", "text": "table, round"}\n',
    "map.json": '{"a": ["red chair", {"text": "armchair", "source": "me"}], "b": "table, round"}',
    "list.json": '[{"uid": "a", "caption": ["red  chair", "armchair"]}, {"name": "b", "caption": "table, round"}]',
}


def texts_in(file) -> dict[str, tuple[str, ...]]:
    return {name: tuple(caption.text for caption in captions) for name, captions in file.captions.items()}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_says_the_same(name, tmp_path):
    (tmp_path / name).write_text(LAYOUTS[name])
    file = read_captions(tmp_path / name)
    assert texts_in(file) == {"a": ("red chair", "armchair"), "b": ("table, round",)}
    assert file.captions["b"][0].source == name.partition(".")[0]
    if name == "map.json":
        assert file.captions["a"][1].source == "me"


def test_a_folder_of_texts_has_a_caption_a_line(tmp_path):
    """As CelebV-Text: a folder an attribute, a file a clip."""
    for attribute, text in {"emotion": "She smiles.\n\nShe frowns.\n", "light": "It is dark.\n"}.items():
        (tmp_path / attribute).mkdir()
        (tmp_path / attribute / "-0BrmyFsYM_0.txt").write_text(text)
    captions = read_captions(tmp_path).of("-0BrmyFsYM_0")
    assert [(c.text, c.source) for c in captions] == [
        ("She smiles.", "emotion"),
        ("She frowns.", "emotion"),
        ("It is dark.", "light"),
    ]


def test_objects_are_known_by_name_by_path_and_by_class(tmp_path):
    (tmp_path / "mvimgnet_category.txt").write_text("0,bag\n36,chair\n7/0a,a red stove\n")
    file = read_captions(tmp_path / "mvimgnet_category.txt")
    assert [c.text for c in file.of("36.1b00c0")] == ["chair"]  # MVImgNet's classes are folders
    assert [c.text for c in file.of("7.0a")] == ["a red stove"]
    assert file.of("7.0b") == ()
    assert file.of("lamp") == ()
    unknown, missing = file.notes()
    assert "1 names are no object's: 0" in unknown
    assert "2 objects have no caption in it" in missing


def test_cap3d_knows_objaverse_s_files_by_their_own_names(tmp_path):
    """Its file has no heading, and a comma in quotes; meshes lie as the package `objaverse` leaves them."""
    uid = "8476c4170df24cf5bbe6967222d1a42d"
    path = tmp_path / "Cap3D_automated_Objaverse_full.csv"
    path.write_text(f'{uid},"A red chair, with four legs."\n0b2d,Matte green sports car\n')
    file = read_captions(path)
    said = [Caption("A red chair, with four legs.", path.stem)]
    assert [*file.of(f"glbs.000-023.{uid}")] == [*file.of(uid)] == said
    assert file.of("glbs.000-023.0b") == ()


def test_mvimgnet_s_second_edition_maps_classes(tmp_path):
    (tmp_path / "mvimgnet2_category.json").write_text('{\n    "0": "bag",\n    "327": "Watering can, Sprinkler "\n}')
    file = read_captions(tmp_path / "mvimgnet2_category.json")
    assert [c.text for c in file.of("327.0a01f3d2")] == ["Watering can, Sprinkler"]
    (tmp_path / "mvimgnet_category.txt").write_text("203,Toy butterfly \n253,Adapter(Water pipe)\n")
    file = read_captions(tmp_path / "mvimgnet_category.txt")
    assert [c.text for name in ("203.1a", "253.2b") for c in file.of(name)] == ["Toy butterfly", "Adapter(Water pipe)"]


def test_unknown_names_are_counted_and_some_are_listed(tmp_path):
    (tmp_path / "c.csv").write_text("".join(f"thing{number},a thing\n" for number in range(9)))
    file = read_captions(tmp_path / "c.csv")
    file.of("thing0")
    listed = "thing1, thing2, thing3, thing4, thing5, ..."
    assert file.notes() == [f"{tmp_path / 'c.csv'}: 8 names are no object's: {listed}"]


FAULTS = {
    "short.csv": (b"a,one\nb\n", "line 2: wanted a name and a caption; got 'b'"),
    "empty.csv": (b"a,one\nb,  \n", "line 2: wanted a caption; got"),
    "quotes.csv": (b'a,one\nb,"two" three\n', "line 2: wanted comma-separated values"),
    "latin.csv": (b"a,one\nb,caf\xe9\n", "line 2: wanted text in UTF-8"),
    "none.csv": (b"", "wanted at least 1 caption; got none"),
    "broken.jsonl": (b'{"name": "a", "caption": "x"}\n{"name": \n', "line 2: wanted"),
    "number.jsonl": (b'{"name": "a", "caption": 7}\n', "line 1: wanted a caption; got 7"),
    "nameless.jsonl": (b'{"caption": "x"}\n', "line 1: wanted name and caption"),
    "word.json": (b'"a"', "wanted {name: caption} or a list; got str"),
    "clips.json": (b'{"clips": {}}', "give the folder of its texts"),
    "numbers.json": (b'{"a": {"b": 1}}', "name 'a': wanted a caption; got null"),
    "other.yaml": (b"a: b", r"wanted \.csv, \.tsv, \.txt, \.json, \.jsonl or a folder"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_told_with_file_and_line(name, tmp_path):
    data, message = FAULTS[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=message) as error:
        read_captions(tmp_path / name)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"captions: wanted a file or a folder of texts; got nowhere\.csv"):
        read_captions("nowhere.csv")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    (tmp_path / "excel.csv").write_bytes(b"\xef\xbb\xbfname,caption\na,one\n")
    assert texts_in(read_captions(tmp_path / "excel.csv")) == {"a": ("one",)}


def test_stand_ins_go_where_there_is_more_to_say():
    name, said = Caption("chair 7", "name"), Caption("a red chair", "me")
    assert joined([said], [name, Caption("a red chair", "you")]) == (said,)
    assert joined([], [name]) == (name,)
    assert joined([Caption("", "me")], []) == ()


def test_a_text_beside_an_object_has_a_caption_a_line(tmp_path):
    (tmp_path / "caption.txt").write_text("a grey box\n\n a box \n")
    stand_in = Caption("box", "name")
    assert [c.text for c in captions_beside(tmp_path / "caption.txt", stand_in)] == ["a grey box", "a box"]
    assert captions_beside(tmp_path / "other.txt", stand_in) == (stand_in,)
    (tmp_path / "empty.txt").write_text("\n")
    assert captions_beside(tmp_path / "empty.txt", stand_in) == (stand_in,)


def test_json_lines_may_be_more_than_memory_is_read_for_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("vader3d.captions.TEXT_BYTES", 64)
    lines = [json.dumps({"name": str(number), "caption": "x"}) for number in range(100)]
    (tmp_path / "many.jsonl").write_text("\n".join(lines))
    assert len(read_captions(tmp_path / "many.jsonl").captions) == 100
    (tmp_path / "long.jsonl").write_text(json.dumps({"name": "a", "caption": "x" * 64}))
    with pytest.raises(ValueError, match="line 1: line: wanted at most 64 bytes; got more"):
        read_captions(tmp_path / "long.jsonl")

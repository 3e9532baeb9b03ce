"""CelebV-Text's clips find their texts, whatever number the names of either end in."""

import json

from vader3d.captions import read_captions
from vader3d.data.videos.clips import listed_clips


def test_no_clip_of_celebv_text_loses_its_text_to_a_number_more(tmp_path):
    """Texts or files called ID_0 where the document says ID, and two sets of clips that share names."""
    for file in (
        "aaa_1.mp4",
        "bbb_1_0.mp4",
        "ccc_1.mp4",
        "ddd_2.mp4",
        "eee_0.mp4",
        "fff_3_1.mp4",
        "fff_3_2.mp4",
        "hhh.mp4",
    ):
        (tmp_path / file).touch()
    texts = (
        "aaa_1_0",
        "bbb_1",
        "ccc_1",
        "ccc_1_7",
        "ddd_2_3",
        "ddd_2_11",
        "fff_3_1",
        "fff_3_2",
        "hhh_35_2",
        "hhh_35_10",
    )
    for name in texts:
        (tmp_path / "texts" / "action").mkdir(parents=True, exist_ok=True)
        (tmp_path / "texts" / "action" / f"{name}.txt").write_text(f"text of {name}")
    box = {"top": 0.0, "bottom": 1.0, "left": 0.0, "right": 1.0}

    def listed(start: int, *names: str) -> dict:
        times = {"start_sec": start, "end_sec": start + 1}
        return {name: {"ytb_id": name.split("_")[0], "duration": times, "bbox": box} for name in names}

    first = listed(9, "aaa_1", "bbb_1", "ccc_1.mp4", "ddd_2", "eee_0", "fff_3", "hhh_35")
    document = {"clips_set1": first, "clips_set2": listed(2, "hhh_35")}
    (tmp_path / "celebvtext_info.json").write_text(json.dumps(document))
    listing = listed_clips(tmp_path)
    begins = {clip.name: clip.start for clip in listing.clips}
    assert begins == dict.fromkeys(["aaa_1_0", "bbb_1", "ccc_1", "ddd_2_3", "eee_0", "fff_3_1", "fff_3_2"], 0) | {
        "hhh_35_2": 2,  # of the second set, but earlier
        "hhh_35_10": 9,
    }
    assert listing.notes == [
        "celebvtext_info.json: 1 names with more or fewer texts than clips, the first are taken: "
        "ddd_2 (ddd_2_3, ddd_2_11)"
    ]
    said = read_captions(listing.texts[0])
    assert [said.of(name)[0].text for name in begins if name != "eee_0"] == [
        f"text of {name}" for name in begins if name != "eee_0"
    ]
    assert said.of("eee_0") == ()
    assert "1 objects have no caption in it: eee_0" in said.notes()[-1]
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "emotion").mkdir(parents=True)
    (elsewhere / "emotion" / "eee_0_4.txt").write_text("happy")
    assert "eee_0_4" in [clip.name for clip in listed_clips(tmp_path, texts=elsewhere).clips]

"""docs/paper.md answers every open question of the paper, and its options exist."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vader3d.autodecoder.codes import codes_for
from vader3d.autodecoder.decoder import Decoder
from vader3d.config import override
from vader3d.diffusion.model import build_denoiser
from vader3d.presets import preset

PAGE = (Path(__file__).parents[1] / "docs" / "paper.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]
OPTIONS = [(row, code) for row in ROWS for cell in row for code in re.findall(r"`([^`]*--set [^`]*)`", cell)]


def settings(code: str) -> list[str]:
    """The assignments of one snippet, as the command line would see them."""
    words = shlex.split(code)
    assert words[::2] == ["--set"] * (len(words) // 2), code
    return words[1::2]


def overridden(stage: str, assignments: list[str]):
    chosen = preset("mvimgnet")  # the paper's, with text
    before = chosen.autodecoder if stage == "1" else chosen.diffusion
    return before, override(before, assignments)


def test_every_question_is_answered_once():
    assert [row[0] for row in ROWS if re.fullmatch(r"A\d+", row[0])] == [f"A{number}" for number in range(1, 40)]
    assert all(all(row) for row in ROWS if re.fullmatch(r"A\d+", row[0]))


def test_questions_without_an_option_say_why():
    for row in ROWS:
        if re.fullmatch(r"A\d+", row[0]) and "--set" not in " ".join(row):
            assert re.search("only one reading|not there yet|see (.* )?below|in Python", " ".join(row)), row


@pytest.mark.parametrize(("row", "code"), OPTIONS, ids=[f"{row[0]}: {code}" for row, code in OPTIONS])
def test_options_exist_change_something_and_build(row, code):
    in_questions = re.fullmatch(r"A\d+", row[0])
    stages = row[1].replace("-", "1").split(", ") if in_questions else ["2" if "unet." in code else "1"]
    for stage in stages:
        before, after = overridden(stage, settings(code))
        assert after != before
        with torch.device("meta"):
            if stage == "1":
                decoder = Decoder(after.decoder)
                assert decoder(torch.zeros(1, after.decoder.code_length)).grid.shape[1] == 4
            else:
                build_denoiser(after, (256, 8, 8, 8), rank=0)
        if stage == "1":
            codes_for(after.codes, 2, after.decoder.code_length, initial_std=1.0)


@pytest.mark.parametrize(("channels", "side", "millions"), [(512, 4, 221), (256, 8, 216), (128, 16, 213)])
def test_latents_of_figure_3_have_networks_of_one_size(channels, side, millions):
    """As many parameters as the page says, within 3 %."""
    config = preset("photoshape-chairs").diffusion
    config = override(config, [f"unet.attention_resolutions=[{side},{side // 2}]"])
    with torch.device("meta"):
        network = build_denoiser(config, (channels, side, side, side), rank=0).network
    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.5)
    assert millions == pytest.approx(216, rel=0.03)


def test_guidance_of_the_paper_s_network_costs_less_than_two_plain_passes():
    """Counted: what comes before the first cross-attention is computed once."""
    with torch.device("meta"):
        network = build_denoiser(preset("mvimgnet").diffusion, (256, 8, 8, 8), rank=0).network
        x, noise, tokens = torch.zeros(1, 256, 8, 8, 8), torch.zeros(1), torch.zeros(2, 32, 1024)

    def counted(tokens: torch.Tensor) -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(x, noise, tokens)
        return counter.get_total_flops()

    assert 1.8 < counted(tokens) / counted(tokens[:1]) < 1.95

"""What trainings leave: latents cut anywhere, facts of codes and networks."""

from dataclasses import replace

import torch
from tiny import write_things

from vader3d.autodecoder.model import load_autodecoder
from vader3d.data.archive.splits import training_views
from vader3d.data.batches.views import PosedViews
from vader3d.latents import load_latents
from vader3d.study.plans import study_named, variants_of
from vader3d.study.trainings import LATENTS, code_facts, cut_latents, trained_autodecoder

BRIEF = ("autodecoder.loop.objects_seen=16",)


def test_latents_cut_anywhere_decode_to_the_same_volumes(tmp_path):
    archive = write_things(tmp_path / "things.zip", size=16)
    views = PosedViews(archive, training_views)
    variants = variants_of(study_named("fig3"), preset_name="tiny", settings=BRIEF)
    volumes, runs = [], set()
    for resolution in (4, 8, 16):
        config = variants[f"{resolution}^3"]
        trained = trained_autodecoder(archive, config, tmp_path)
        cut = cut_latents(trained, views, config, tmp_path)
        latents, _, header = load_latents(cut / LATENTS)
        assert latents.shape[-1] == resolution
        assert header["report"]["psnr_db"] > 0
        model, _, _ = load_autodecoder(cut)
        with torch.no_grad():
            volumes.append(model.decoder.to_volume(latents).grid)
        runs.add(trained)
    assert len(runs) == 1
    assert all(torch.allclose(volume, volumes[0], atol=1e-4) for volume in volumes)


def test_codes_that_clash_are_counted():
    hashed = variants_of(study_named("hash"), preset_name="small-grid", settings=())["hashed, 16 variants a piece"]
    pieces = hashed.autodecoder.codes
    facts = code_facts(hashed.autodecoder, 163)
    assert facts["code_kilobytes"] == 16 * 64 * 4e-3
    assert facts["different_codes"] <= 163
    literal = replace(hashed.autodecoder, codes=replace(pieces, key_mix=False, codebook_size=64))
    assert code_facts(literal, 64)["different_codes"] == 2  # docs/paper.md, A2: the printed hash of consecutive numbers

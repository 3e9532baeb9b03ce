"""The command that lists the named configurations with what they cost."""

from vader3d.autodecoder.codes import storage_note
from vader3d.costs import Cost, autodecoder_cost, decoder_parameters, diffusion_cost
from vader3d.presets import PRESETS, Preset

COLUMNS = (
    f"{'preset':18} {'objects':>8} {'px':>4} | {'stage 1: M':>10} {'batch':>6} {'GB':>6} {'TFLOP':>8}"
    f" | {'stage 2: M':>10} {'batch':>6} {'GB':>6} {'TFLOP':>8}"
)


def presets_table() -> str:
    """What `vader3d presets` prints."""
    lines = [COLUMNS, *map(preset_row, PRESETS)]
    for name, preset in PRESETS.items():
        lines.append(f"\n{name}: {preset.note}\n    {codes_note(preset)}\n    score: {preset.score}")
    return "\n".join(lines)


def preset_row(name: str) -> str:
    """One line under `COLUMNS`: millions of parameters, and memory and arithmetic of one step at the whole batch."""
    chosen = PRESETS[name]
    row = f"{name:18} {chosen.objects:8} {chosen.picture_px:4}"
    loops = (chosen.autodecoder.loop, chosen.diffusion.loop)
    for cost, loop in zip(preset_costs(chosen), loops, strict=True):
        row += f" | {cost.parameters / 1e6:10.1f} {loop.batch:6} {cost.bytes / 1e9:6.2f} {cost.flops / 1e12:8.3g}"
    return row


def preset_costs(preset: Preset) -> tuple[Cost, Cost]:
    """Of a step of stage 1 and of stage 2."""
    latent_shape = preset.autodecoder.decoder.latent_shape
    first = autodecoder_cost(preset.autodecoder, objects=preset.objects, picture_px=preset.picture_px)
    return first, diffusion_cost(preset.diffusion, latent_shape=latent_shape)


def codes_note(preset: Preset) -> str:
    """What the codes of all objects take, and what hashing saves of it."""
    decoder, length = decoder_parameters(preset.autodecoder.decoder), preset.autodecoder.decoder.code_length
    return storage_note(preset.autodecoder.codes, preset.objects, length, decoder=decoder)

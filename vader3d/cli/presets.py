"""The command that lists the named configurations and their fields."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from vader3d.config import described_fields
from vader3d.files import write_text

if TYPE_CHECKING:
    from vader3d.presets import Preset

# What `presets_table` says, kept because tracing takes seconds; a test holds it to that, and
# `python -m vader3d.cli.presets` writes it anew.
TABLE = Path(__file__).with_name("presets.txt")
COLUMNS = (
    f"{'preset':20} {'objects':>8} {'px':>4} | {'stage 1: M':>10} {'batch':>6} {'GB':>6} {'TFLOP':>8}"
    f" | {'stage 2: M':>10} {'batch':>6} {'GB':>6} {'TFLOP':>8}"
)


def presets_command(name: Positional[str] = "") -> None:
    """The named configurations: what they are for, their sizes, memory and arithmetic of a step, score where known.

    Memory is of training on one device at the preset's batch: weights, optimiser, averages, codes, and what the forward
    pass keeps; the renderer's buffers come on top.

    Args:
        name: Which; then all its fields are listed, one a line, as --set takes them, each with its meaning.
    """
    if not name:
        return print(TABLE.read_text(encoding="utf-8"), end="")
    from vader3d.presets import preset

    return print(fields_table(preset(name), name))


def fields_table(chosen: "Preset", name: str) -> str:
    """What `vader3d presets NAME` prints."""
    sections = [f"{name}: {chosen.note}\n    score: {chosen.score}\n    Values are JSON; null is Python's None."]
    for stage in ("autodecoder", "diffusion"):
        fields = "\n".join(field_rows(getattr(chosen, stage)))
        sections.append(f"vader3d train {stage} --preset {name} --set FIELD=VALUE\n\n{fields}")
    return "\n\n\n".join(sections)


def field_rows(config: Any) -> list[str]:
    """`path.to.field = value    meaning` for every settable field, values as `--set` takes them."""
    rows = []
    for path, value, choices, meaning in described_fields(config):
        text = value if isinstance(value, str) and value else json.dumps(value)
        rows.append((f"{path} = {text}", f"{' | '.join(choices)}: {meaning}" if choices else meaning))
    width = max(len(assignment) for assignment, _ in rows)
    return [f"{assignment:{width}}    {meaning}" for assignment, meaning in rows]


def presets_table() -> str:
    """What `vader3d presets` prints, traced anew."""
    from vader3d.presets import PRESETS

    lines = [COLUMNS, *(preset_row(name, chosen) for name, chosen in PRESETS.items())]
    for name, chosen in PRESETS.items():
        lines.append(f"\n{name}: {chosen.note}\n    {codes_note(chosen)}\n    score: {chosen.score}")
    return "\n".join(lines) + "\n"


def preset_row(name: str, chosen: "Preset") -> str:
    """One line under `COLUMNS`: millions of parameters, and memory and arithmetic of one step at the whole batch."""
    from vader3d.costs import autodecoder_cost, diffusion_cost

    latent_shape = chosen.autodecoder.decoder.latent_shape
    first = autodecoder_cost(chosen.autodecoder, objects=chosen.objects, picture_px=chosen.picture_px)
    second = diffusion_cost(chosen.diffusion, latent_shape=latent_shape)
    row = f"{name:20} {chosen.objects:8} {chosen.picture_px:4}"
    for cost, loop in ((first, chosen.autodecoder.loop), (second, chosen.diffusion.loop)):
        row += f" | {cost.parameters / 1e6:10.1f} {loop.batch:6} {cost.bytes / 1e9:6.2f} {cost.flops / 1e12:8.3g}"
    return row


def codes_note(chosen: "Preset") -> str:
    """What the codes of all objects take, and what hashing saves of it."""
    from vader3d.autodecoder.codes import storage_note
    from vader3d.costs import decoder_parameters

    decoder = chosen.autodecoder.decoder
    count = decoder_parameters(decoder)
    objects = chosen.objects * chosen.autodecoder.yaw_copies
    return storage_note(chosen.autodecoder.codes, objects, decoder.code_length, decoder=count)


if __name__ == "__main__":
    write_text(TABLE, presets_table())

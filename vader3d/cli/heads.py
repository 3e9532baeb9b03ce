"""`vader3d prepare heads`."""

from pathlib import Path

from vader3d.cli.parsing import checked


@checked
def prepare_heads_command(
    *,
    output: Path,
    count: int = 300,
    frames: int = 24,
    seed: int = 0,
    take: int = 0,
    size: int = 64,
    processes: int = 2,
) -> None:
    """Clips of people's heads and shoulders that move, of parametric people, with truth beside them.

    Args:
        output: The archive, without cameras: all stand in front. Beside it OUTPUT.truth.safetensors (part poses,
            cameras, depth, parts) and OUTPUT.novel.zip (views from the side of one held-out frame).
        count: How many people, each in a clip of its own.
        frames: Pictures of each clip.
        seed: Clip i of a seed is always the same.
        take: How many clips of the same people come before.
        size: Width and height of the pictures in pixels.
        processes: How many to render in parallel.
    """
    from vader3d.data.making.heads import prepare_heads

    print(prepare_heads(output, count=count, frames=frames, seed=seed, take=take, size=size, processes=processes))

"""What an object is made of: all that it depends on but the model."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from vader3d.config import Checked, config_from_dict, config_to_dict, ranged
from vader3d.diffusion.solver_names import USUAL_STEPS, SolverName

LONGEST_NAME = 48  # characters of a prompt that a file's name keeps


@dataclass(frozen=True)
class Recipe(Checked):
    """The same recipe and model make the same object, whatever else is made with it.

    The edits: `towards` and `fraction` (between two recipes: slerp of noise, lerp of tokens); `start` and `strength`
    (another object's latent, noised and denoised anew); with `keep_box` only outside of it.
    """

    prompt: str = ""  # empty: unconditional
    negative_prompt: str = ""  # what guidance leads away from; empty: from no text
    seed: int = ranged(0, at_least=0, below=1 << 63)
    index: int = ranged(0, at_least=0)  # of the seed's noises
    steps: int = ranged(12, at_least=1)  # noise levels of the solver
    solver: SolverName = "dpmpp_2m"
    stochastic: bool = False  # with fresh noise at every step, as in the paper's main results
    redraws: int = ranged(0, at_least=0, at_most=64)  # at most, while a copy of a training object comes out
    guidance_scale: float = ranged(3.0, at_least=0)  # 1: none; the paper: 3
    # lowest and highest noise level at which guidance acts; None: at all
    guidance_interval: tuple[float, float] | None = ranged(None, at_least=0)
    guidance_rescale: float = ranged(0.0, at_least=0, at_most=1)  # arXiv:2305.08891
    guide: str | None = None  # SHA-256 of an earlier snapshot of the run that guides (arXiv:2406.02507)
    towards: "Recipe | None" = None
    fraction: float = ranged(0.0, at_least=0, at_most=1)
    start: "Recipe | None" = None
    strength: float = ranged(1.0, at_least=0, at_most=1)
    keep_box: tuple[float, ...] | None = ranged(None, at_least=-1, at_most=1)  # x, y, z of two corners

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.guidance_interval or (0.0, 0.0)
        if low > high:
            raise ValueError(f"guidance_interval: wanted two noise levels, the lower one first; got {low}, {high}")
        if self.redraws and (self.start or self.towards):
            raise ValueError(f"redraws: wanted 0 where another object is gone on from; got {self.redraws}")

    @property
    def name(self) -> str:
        """A file's name that tells prompt, seed and number, for instance a-red-chair-seed0-003; ways sort by it."""
        way = f"-{round(10_000 * self.fraction):05d}" if self.towards else ""
        edited = f"{way}-{digest(repr(self))}" if self.start or self.towards else ""
        return f"{slug(self.prompt)}seed{self.seed}-{self.index:03d}{edited}"

    @property
    def texts(self) -> tuple[str, str]:
        """All that an encoder is to read of it."""
        return self.prompt, self.negative_prompt

    @property
    def guides(self) -> set[str]:
        """The checksums of all snapshots that guide it, and what it comes of."""
        own = {self.guide} if self.guide else set()
        return own.union(*(part.guides for part in (self.towards, self.start) if part))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without edits that there are none of."""
        return {name: value for name, value in config_to_dict(self).items() if value is not None}


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """The inverse of `Recipe.to_dict`; ValueError names what is no recipe's."""
    return config_from_dict(Recipe, dict(values))


def slug(prompt: str) -> str:
    """A red chair -> a-red-chair-; what a file's name cannot keep goes into six digits."""
    kept = "-".join("".join(c if c.isalnum() else " " for c in prompt.lower()).split())[:LONGEST_NAME].rstrip("-")
    parts = [kept] if kept == prompt.replace(" ", "-") else [kept, digest(prompt)]
    return "".join(f"{part}-" for part in parts if part)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def recipes_for(
    prompt: str | Sequence[str] | None,
    *,
    count: int,
    seed: int | Sequence[int] = 0,
    guidance_scale: float | Sequence[float] = 3.0,
    negative_prompt: str | Sequence[str] | None = None,
    steps: int | None = None,
    solver: Any = "dpmpp_2m",
    **alike: Any,
) -> list[Recipe]:
    """`count` recipes for each prompt, one after the other; ValueError names what is wrong.

    steps: None takes as many as the solver needs. alike: further fields of all of them.
    """
    if not isinstance(prompt, (str, Sequence, type(None))):
        raise ValueError(f"prompt: wanted a string, or several; got {prompt!r}")
    prompts = [prompt or ""] if prompt is None or isinstance(prompt, str) else [*prompt]
    if solver not in get_args(SolverName):
        raise ValueError(f"solver: wanted one of {', '.join(get_args(SolverName))}; got {solver!r}")
    steps = USUAL_STEPS[solver] if steps is None else steps
    check_least(1, count=count, steps=steps, prompts=len(prompts))
    each = zip(
        prompts,
        one_each("seed", seed, len(prompts)),
        one_each("guidance_scale", guidance_scale, len(prompts)),
        one_each("negative_prompt", negative_prompt or "", len(prompts)),
        strict=True,
    )
    return [
        Recipe(
            prompt=checked_prompt(text),
            negative_prompt=checked_prompt(negative),
            seed=number,
            index=index,
            steps=steps,
            guidance_scale=scale,
            solver=solver,
            **alike,
        )
        for text, number, scale, negative in each
        for index in range(count)
    ]


def what_a_batch_shares(recipe: Recipe) -> Recipe:
    """Equal for recipes that can be made together: only texts, noise and guidance scale may differ."""
    towards, start = (part and Recipe() for part in (recipe.towards, recipe.start))
    return replace(
        recipe,
        prompt="",
        negative_prompt="",
        seed=0,
        index=0,
        guidance_scale=1.0,
        towards=towards,
        fraction=0.0,
        start=start,
    )


def checked_prompt(text: Any) -> str:
    """ValueError: no string."""
    if not isinstance(text, str):
        raise ValueError(f"prompt: wanted a string; got {text!r}")
    return text.strip()


def one_each(name: str, value: Any, count: int) -> list[Any]:
    """One value for all, or a list of `count`; ValueError for another number of them."""
    values = [value] * count if isinstance(value, (str, int, float)) else [*value]
    if len(values) != count:
        raise ValueError(f"{name}: wanted one, or one for each of {count} prompts; got {len(values)}")
    return values


def check_least(least: int, **values: int) -> None:
    """ValueError names the first of the values that is smaller."""
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{name}: wanted {least} or more; got {value}")

"""Recipes: names that tell them apart, plain values and back, one for every prompt and number."""

import json

import pytest

from vader3d.generate.files import between
from vader3d.generate.recipes import Recipe, recipe_from_dict, recipes_for, what_a_batch_shares

BASE = Recipe(prompt="a red chair", seed=3, index=2)
EDITED = [
    Recipe(towards=BASE, fraction=0.25),
    Recipe(start=BASE, strength=0.4),
    Recipe(prompt="a stool", start=Recipe(start=BASE), keep_box=(-1.0, -1.0, -1.0, 1.0, 1.0, 0.0)),
]


@pytest.mark.parametrize("recipe", [Recipe(), BASE, Recipe(guidance_interval=(0.1, 2.0)), Recipe(guide="abc"), *EDITED])
def test_a_recipe_comes_back_from_strict_json(recipe):
    text = json.dumps(recipe.to_dict(), allow_nan=False)
    assert recipe_from_dict(json.loads(text)) == recipe


def test_names_tell_recipes_apart():
    prompts = [
        "",
        "a red chair",
        "A red chair",
        "a red chair!",
        "ein roter Stuhl",
        "赤い椅子",
        "красный стул",
        "/../x",
        "!?",
    ]
    recipes = [
        Recipe(prompt=prompt, seed=seed, index=index) for prompt in prompts for seed in (0, 1) for index in (0, 1)
    ]
    names = [recipe.name for recipe in [*recipes, *EDITED]]
    assert len(set(names)) == len(names)
    assert all("/" not in name and len(name.encode()) < 200 for name in names)
    assert Recipe(prompt="a red chair", index=7).name == "a-red-chair-seed0-007"
    assert Recipe(seed=5).name == "seed5-000"


def test_files_of_a_way_lie_in_its_order():
    for ends in (("a red chair", "a blue table"), ("1", "2")):
        names = [recipe.name for recipe in between(Recipe(), *ends, frames=120)]
        assert names == sorted(names)


def test_there_is_a_recipe_for_every_prompt_and_number():
    recipes = recipes_for(["a", "b"], count=3, seed=[4, 5], guidance_scale=[1.0, 2.0], steps=8)
    assert [(r.prompt, r.seed, r.index, r.guidance_scale) for r in recipes] == [
        ("a", 4, 0, 1.0), ("a", 4, 1, 1.0), ("a", 4, 2, 1.0), ("b", 5, 0, 2.0), ("b", 5, 1, 2.0), ("b", 5, 2, 2.0)
    ]  # fmt: skip
    assert [r.prompt for r in recipes_for(None, count=2, steps=8)] == ["", ""]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"prompt": []}, "prompts: wanted 1 or more; got 0"),
        ({"prompt": ["a", 3]}, "prompt: wanted a string; got 3"),
        ({"prompt": ["a", "b"], "seed": [1]}, "seed: wanted one, or one for each of 2 prompts; got 1"),
        ({"prompt": "a", "seed": 1.5}, "seed: wanted a whole number; got 1.5"),
        ({"prompt": "a", "seed": -1}, "seed: wanted at least 0.*; got -1"),
        ({"prompt": "a", "guidance_scale": float("nan")}, "guidance_scale: wanted a finite number"),
        ({"prompt": "a", "count": 0}, "count: wanted 1 or more; got 0"),
        ({"prompt": "a", "steps": 0}, "steps: wanted 1 or more; got 0"),
        ({"prompt": "a", "guidance_rescale": 1.5}, "guidance_rescale: wanted at least 0 and at most 1; got 1.5"),
        ({"prompt": "a", "guidance_interval": (2.0, 1.0)}, "guidance_interval: wanted two .*; got 2.0, 1"),
        ({"prompt": "a", "solver": "eular"}, "solver: wanted one of heun, euler, dpmpp_2m; got 'eular'"),
    ],
)
def test_what_is_wrong_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        recipes_for(**{"count": 1, "steps": 8, **wrong})


def test_only_texts_noise_and_scale_may_differ_within_a_batch():
    alike = [BASE, Recipe(), Recipe(guidance_scale=7.0, negative_prompt="legs")]
    assert len({what_a_batch_shares(recipe) for recipe in alike}) == 1
    others = [Recipe(steps=8), Recipe(solver="euler"), Recipe(stochastic=True), *EDITED]
    assert len({what_a_batch_shares(recipe) for recipe in [*alike, *others]}) == 1 + len(others)

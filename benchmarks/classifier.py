"""A classifier of types learns from generated or real pictures.

    python benchmarks/classifier.py MODEL DATA             # minutes of one thread, into results/classifier.md
    python benchmarks/classifier.py MODEL DATA --quick     # to see that it runs

MODEL was trained with captions on DATA. The types are those that most objects have (tags `type:chair`, or categories).
Half of each type's objects are for training, the others' held-out views are the test. All trainings see equally many
pictures of each type: real ones, or generated ones (`vader3d.assets.as_dataset`) whose prompts are the captions of
the same objects, or both, half and half. The generator itself has learned from all objects of DATA: unlike the real
pictures, what it draws may know the test's objects.
"""

import argparse
import random
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from vader3d import Generator
from vader3d.assets import as_dataset
from vader3d.data.archive.splits import heldout_views, training_views
from vader3d.data.named import open_archive
from vader3d.generate.recipes import recipes_for
from vader3d.text.heldout import said_of

RESULTS = Path(__file__).with_name("results")
SIZE = 48  # px of the pictures that are classified
TESTED = 40  # objects of a type at most


def objects_by_type(data, *, types: int, least: int) -> dict[str, list[int]]:
    """The objects of the `types` most frequent types that have `least` or more, in an order of chance."""
    found: dict[str, list[int]] = {}
    for index, record in enumerate(data.records):
        if record.caption and (kind := said_of([], record.category, record.tags).type):
            found.setdefault(kind, []).append(index)
    most = sorted(found, key=lambda kind: (-len(found[kind]), kind))[:types]
    if len(most) < 2 or len(found[most[-1]]) < least:
        raise ValueError(f"data: wanted {types} types of {least} or more objects; got {[*map(len, found.values())]}")
    return {kind: random.Random(kind).sample(found[kind], len(found[kind])) for kind in most}


def pictures_of(data, places: Sequence[tuple[int, int]]) -> Tensor:
    """The views (object, number) on black, float [N, 3, SIZE, SIZE] in [0, 1]."""
    read = {index: data.read(index).pictures for index, _ in places}
    pictures = torch.stack([torch.from_numpy(read[index][view]) for index, view in places]).movedim(-1, 1) / 255
    small = nn.functional.interpolate(pictures[:, :3] * pictures[:, 3:], SIZE, mode="bilinear", antialias=True)
    return small.clamp(0, 1)


def places_of(data, objects: Sequence[int], choose_views, count: int) -> list[tuple[int, int]]:
    """`count` views (object, number) of all objects, as evenly as may be; choose_views as `training_views`."""
    places = []
    for i in range(count):
        index = objects[i % len(objects)]
        chosen = choose_views(data.records[index].views)
        places.append((index, chosen[i // len(objects) % len(chosen)]))
    return places


def generated(generator: Generator, captions: Sequence[str], count: int, views: int, folder: Path, seed: int) -> Tensor:
    """Pictures of objects that the captions ask for, a few views of each."""
    prompts = [captions[i % len(captions)] for i in range(-(-count // views))]
    recipes = recipes_for(prompts, count=1, seed=[seed + i for i in range(len(prompts))])
    as_dataset(generator.draw(recipes, batch=4), folder, views=views, size=SIZE, seed=seed)
    data = open_archive(folder / "objects.zip")
    return pictures_of(data, [(index, view) for index in range(len(data)) for view in range(views)])[:count]


class Classifier(nn.Sequential):
    """Four convolutions, each halving the picture, and the mean over what is left."""

    def __init__(self, types: int):
        widths = [3, 24, 48, 96, 96]
        layers = [
            layer
            for one, two in pairwise(widths)
            for layer in (nn.Conv2d(one, two, 3, 2, 1), nn.BatchNorm2d(two), nn.ReLU())
        ]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], types))


def learned(pictures: Tensor, labels: Tensor, types: int, *, seed: int, steps: int) -> Classifier:
    """A classifier after `steps` batches of 64, mirrored and shifted by chance."""
    torch.manual_seed(seed)
    model, draw = Classifier(types), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for _ in range(steps):
        chosen = torch.randint(len(pictures), (64,), generator=draw)
        shift = torch.randint(-3, 4, (2,), generator=draw).tolist()
        batch = pictures[chosen].roll(shift, (2, 3))
        batch = batch.flip(3) if torch.rand((), generator=draw) < 0.5 else batch
        loss = nn.functional.cross_entropy(model(batch), labels[chosen], label_smoothing=0.1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
    return model.eval()


@torch.no_grad()
def shares_right(model: Classifier, pictures: Tensor, labels: Tensor, types: int) -> Tensor:
    """Of each type's pictures, [types]."""
    right = (model(pictures).argmax(1) == labels).double()
    return torch.stack([right[labels == kind].mean() for kind in range(types)])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--types", type=int, default=8)
    parser.add_argument("--pictures", type=int, default=48, help="of each type in training")
    parser.add_argument("--views", type=int, default=4, help="of each generated object")
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--least", type=int, default=20, help="objects of a type")
    parser.add_argument("--quick", action="store_true", help="to see that it runs: the numbers mean nothing")
    parser.add_argument("--note", default="", help="what else is to be said")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for classifier.md and classifier.png")
    options = parser.parse_args(arguments)
    if options.quick:
        options.types, options.pictures, options.views, options.steps, options.seeds, options.least = 2, 4, 2, 2, 1, 2
    data, generator = open_archive(options.data), Generator.from_pretrained(options.model)
    by_type = objects_by_type(data, types=options.types, least=options.least)
    names, count = [*by_type], options.pictures
    parts: dict[str, list[Tensor]] = {"real": [], "generated": [], "both": [], "test": []}
    with tempfile.TemporaryDirectory() as folder:
        for number, objects in enumerate(by_type.values()):
            half = len(objects) // 2
            for_training, for_test = objects[:half], objects[half:][:TESTED]
            alike = for_training[: -(-count // options.views)]  # as many objects as are generated, if there are
            real = pictures_of(data, places_of(data, alike, training_views, count))
            captions = [data.records[index].caption for index in alike]
            place = Path(folder) / str(number)
            drawn = generated(generator, captions, count, options.views, place, seed=1000 * number)
            parts["real"].append(real)
            parts["generated"].append(drawn)
            parts["both"].append(torch.cat([real[::2], drawn[::2]]))
            parts["test"].append(pictures_of(data, places_of(data, for_test, heldout_views, 2 * len(for_test))))
            print(f"{names[number]}: {len(alike)} objects for training, {len(drawn)} pictures generated", flush=True)
    sets = {
        name: (torch.cat(pictures), torch.arange(len(names)).repeat_interleave(torch.tensor([*map(len, pictures)])))
        for name, pictures in parts.items()
    }
    rows = {}
    for name in ("real", "generated", "both"):
        models = [learned(*sets[name], len(names), seed=seed, steps=options.steps) for seed in range(options.seeds)]
        rows[name] = torch.stack([shares_right(model, *sets["test"], len(names)) for model in models])
        print(f"{name}: {rows[name].mean():.1%} right", flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "classifier.md").write_text(as_markdown(options, names, sets, rows), encoding="utf-8")
    save_sheet(options.output / "classifier.png", [parts["real"], parts["generated"], parts["test"]])


def as_markdown(options, names: list[str], sets: dict, rows: dict[str, Tensor]) -> str:
    generated = sets["generated"][1].bincount().tolist()
    fewer = [f"{count} of {name}" for name, count in zip(names, generated, strict=True) if count < options.pictures]
    unseen = f"Generated are only {', '.join(fewer)}: others were not seen in every picture. " if fewer else ""
    lines = [
        "# A classifier of types, learned from generated pictures",
        "",
        f"{options.pictures} pictures of {SIZE} px of each type, {options.views} of each generated object, "
        f"{options.steps} steps, {options.seeds} trainings each, tested on {len(sets['test'][1])} held-out views of "
        f"objects that no training had. {unseen}Per cent right, the mean over types; chance: {100 / len(names):.1f}. "
        f"{options.note}".rstrip(),
        "",
        f"| learned from | right | lowest and highest training | {' | '.join(names)} |",
        "|---" * (3 + len(names)) + "|",
    ]
    for name, shares in rows.items():
        each = 100 * shares.mean(1)
        cells = " | ".join(f"{100 * share:.0f}" for share in shares.mean(0).tolist())
        lines.append(f"| {name} | {each.mean():.1f} | {each.min():.1f} to {each.max():.1f} | {cells} |")
    return "\n".join(lines) + "\n"


def save_sheet(path: Path, sets: Sequence[Sequence[Tensor]]) -> None:
    """A row a type, six pictures of each set beside each other."""
    from PIL import Image

    rows = [torch.cat([part[:: max(1, len(part) // 6)][:6] for part in kind]) for kind in zip(*sets, strict=True)]
    width = max(map(len, rows))
    rows = [torch.cat([row, row.new_zeros(width - len(row), *row.shape[1:])]) for row in rows]
    sheet = torch.cat([row.permute(2, 0, 3, 1).reshape(SIZE, -1, 3) for row in rows])
    Image.fromarray((sheet * 255).round().to(torch.uint8).numpy()).save(path)


if __name__ == "__main__":
    main()

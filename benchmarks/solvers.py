"""What each solver makes of a trained model in how many steps: Frechet distance against seconds.

    OMP_NUM_THREADS=1 python benchmarks/solvers.py --model runs/demo --data furniture

All solvers start from the same noise. Distances are those of protocol `demo`, of more samples; the last row tells how
far chance moves them. Seconds are processor time for a latent in batches of 16, without the decoder.
Result: benchmarks/results/solvers.md.
"""

import argparse
import platform
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vader3d.data.named import open_archive
from vader3d.diffusion.sampler import sigmas_for
from vader3d.diffusion.solvers import STOCHASTIC, Solver, dpmpp_2m, dpmpp_2m_sde, euler, heun
from vader3d.evaluation.judged import open_judged_model
from vader3d.evaluation.measurements import Measurements
from vader3d.evaluation.protocol import load_protocol
from vader3d.evaluation.sets import PictureSets
from vader3d.files import write_text
from vader3d.frozen.embeddings import load_features
from vader3d.measures.distances import Moments, feature_moments, frechet_distance
from vader3d.randomness import sample_seed

BATCH = 16
OTHER_NOISE = 1 << 20  # the number of the first sample of the second draw
Row = tuple[str, Solver, str, tuple[int, ...]]  # a name, the solver, for which solver its levels are, steps
ROWS: list[Row] = [
    ("Heun", heun, "heun", (64, 32, 16, 8, 4)),
    ("Heun, churned", partial(heun, churn=STOCHASTIC), "heun", (64, 32)),
    ("Euler", euler, "euler", (64, 16)),
    ("DPM-Solver++(2M), EDM's levels", dpmpp_2m, "heun", (32, 16, 12, 10, 8)),
    ("DPM-Solver++(2M)", dpmpp_2m, "dpmpp_2m", (16, 12, 10, 8, 6, 4)),
    ("its SDE variant, EDM's levels", dpmpp_2m_sde, "heun", (32, 16, 10)),
    ("its SDE variant", dpmpp_2m_sde, "dpmpp_2m_sde", (32, 16, 10)),
    ("Heun, these levels", heun, "dpmpp_2m", (8, 4)),
]


class Drawn(NamedTuple):
    """Normalised latents, how many calls of the denoiser a batch took, and processor seconds for a latent."""

    latents: Tensor
    calls: int
    seconds: float


class Judge:
    """A trained model and the pictures that its objects are compared with."""

    def __init__(self, model: Path, data: str, samples: int):
        judged = open_judged_model(model, open_archive(data), device="cpu")
        protocol = load_protocol("demo")[0]
        assert protocol.reference is not None
        reference = replace(protocol.reference, objects=None)
        self.sets = PictureSets(judged, replace(protocol, samples=samples, reference=reference))
        self.generator, self.samples = judged.generator, samples
        measurements = Measurements(self.sets, load_features(protocol.features[0]), None)
        self.embedded = measurements.embedded
        whole = measurements.reference()
        parts = [whole.compute(numbers).tensors["features"] for numbers in whole.chunks()]
        self.reference: Moments = feature_moments(torch.cat(parts))

    @torch.no_grad()
    def drawn(self, solver: Solver, levels: str, steps: int, *, first: int = 0) -> Drawn:
        """Samples number `first` and on."""
        calls, parts, start = 0, [], time.process_time()
        sigmas = sigmas_for(levels, steps, self.generator.latent_shape)

        def counted(x: Tensor, sigma: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return self.generator.denoiser(x, sigma)

        for numbers in torch.arange(first, first + self.samples).split(BATCH):
            draw = noise_of_seeds([sample_seed(0, int(n)) for n in numbers], self.generator.latent_shape)
            with self.generator.autocast():
                parts.append(solver(counted, draw(), sigmas, draw=draw))
        seconds = (time.process_time() - start) / self.samples
        return Drawn(torch.cat(parts), calls // len(parts), seconds)

    def frechet(self, latents: Tensor) -> float:
        """Between pictures of these objects and all training objects'."""
        features: list[Tensor] = []
        raw = self.generator.statistics.denormalise(latents)
        for numbers in torch.arange(self.samples).split(BATCH):
            volume = self.generator.decode(raw[numbers])
            pictures = self.sets.rendered(volume, numbers.tolist(), Counter())
            features.append(self.embedded(pictures)["features"])
        return frechet_distance(feature_moments(torch.cat(features)), self.reference)


def noise_of_seeds(seeds: list[int], shape: tuple[int, ...]) -> Callable[[], Tensor]:
    """As generation draws it: a generator a sample."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return lambda: torch.stack([torch.randn(shape, generator=generator) for generator in generators])


def table(judge: Judge, rows: list[Row]) -> str:
    """In Markdown; the first row is what the others are compared with."""
    lines = [
        "| solver | steps | calls | CPU ms a latent | Frechet distance | to the first row | other latents |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    best, truth = None, None
    for name, solver, levels, choices in rows:
        for steps in choices:
            made = judge.drawn(solver, levels, steps)
            distance = judge.frechet(made.latents)
            best, truth = (distance, made.latents) if best is None or truth is None else (best, truth)
            unlike = float((made.latents - truth).square().mean().sqrt() / truth.std())
            lines.append(
                f"| {name} | {steps} | {made.calls} | {1e3 * made.seconds:.1f} | {distance:.1f} "
                f"| {100 * (distance / best - 1):+.1f} % | {unlike:.3f} |"
            )
            print(lines[-1], flush=True)
    name, solver, levels, choices = rows[0]
    made = judge.drawn(solver, levels, choices[0], first=OTHER_NOISE)
    distance = judge.frechet(made.latents)
    lines.append(f"| {name}, other noise | {choices[0]} | {made.calls} | {1e3 * made.seconds:.1f} | {distance:.1f} ")
    lines[-1] += f"| {100 * (distance / (best or distance) - 1):+.1f} % | - |"
    print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the run folder of stage 2, or a demo's")
    parser.add_argument("--data", default="furniture", help="what it was trained on")
    parser.add_argument("--samples", type=int, default=160)
    parser.add_argument("--quick", action="store_true", help="two rows")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "solvers.md")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    rows: list[Row] = [("Heun", heun, "heun", (4,)), ("DPM-Solver++(2M)", dpmpp_2m, "dpmpp_2m", (4,))]
    judge = Judge(options.model, options.data, options.samples)
    made = table(judge, rows if options.quick else ROWS)
    facts = f"{options.samples} samples x {judge.sets.protocol.views} views, {platform.machine()}, torch "
    facts += f"{torch.__version__}, {torch.get_num_threads()} threads, {time.monotonic() - start:.0f} s in all"
    write_text(options.output, f"# Solvers and steps\n\n{facts}\n\n{made}")


if __name__ == "__main__":
    main()

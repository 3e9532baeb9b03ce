"""How well a model explains views that no training saw.

Where poses are learned such views have none of their own: the network gives one, which the volume
may refine. Both are scored, apart.
"""

import torch
from torch import Tensor

from vader3d.autodecoder.model import Autodecoder
from vader3d.autodecoder.posing import cameras_at, shifted, smaller
from vader3d.data.batches.views import ViewBatch, Views
from vader3d.geometry.cameras import Cameras
from vader3d.geometry.skinning import inverse
from vader3d.measures.pictures import psnr
from vader3d.measures.poses import rotation_scores
from vader3d.render import RenderConfig, Volume, render_views

STAGES = ((32, 12, 0.01), (64, 8, 0.004))  # of a refinement: pictures' size in px, steps, learning rate
MOST_OBJECTS, MOST_VIEWS, AT_ONCE = 32, 4, 8


def refined(volume: Volume, cameras: Cameras, target: ViewBatch, config: RenderConfig) -> Cameras:
    """The cameras [B, V] moved to where `volume`, which stays, renders `target` better: 20 steps of Adam.

    One that renders its picture no better afterwards stays where it was.
    """
    volume, start = volume.with_grid(volume.grid.detach()), inverse(cameras.world_from_camera[:, :, :3].detach())
    moves = start.new_zeros(*start.shape[:2], 6).requires_grad_()
    optimiser = torch.optim.Adam([moves], betas=(0.8, 0.9))

    def wrong(seen: ViewBatch, moves: Tensor) -> Tensor:
        colour, opacity = render_views(volume, cameras_at(shifted(start, moves), seen.cameras), config)
        colours, masks = (colour - seen.colour).square(), (opacity - seen.mask).square()
        return colours.mean((-1, -2, -3)) + 0.5 * masks.mean((-1, -2, -3))

    with torch.enable_grad():
        for size, steps, rate in STAGES:
            seen = smaller(target, size)
            optimiser.param_groups[0]["lr"] = rate
            for _ in range(steps):
                (moves.grad,) = torch.autograd.grad(wrong(seen, moves).sum(), moves)
                optimiser.step()
    final = moves.detach()
    better = wrong(target, final) < wrong(target, torch.zeros_like(final))
    return cameras_at(shifted(start, final * better[..., None]), cameras)


@torch.no_grad()
def unseen_scores(model: Autodecoder, views: Views, config: RenderConfig) -> dict[str, float]:
    """Of up to 4 of the `views`, which no training saw, of up to 32 objects of one part, by the model.

    `unseen_psnr_db`, from the data's cameras or where poses are learned from the network's; of these also `_refined`,
    and rotation errors as of `rotation_scores`, where the data know. Nothing where an object has no such view.
    """
    objects = views.readable(torch.linspace(0, len(views) - 1, min(MOST_OBJECTS, len(views))).long().unique())
    fewest = min((views.view_count(o) for o in objects.tolist()), default=0)
    if not fewest:
        return {}
    numbers = torch.linspace(0, fewest - 1, min(MOST_VIEWS, fewest)).long()
    device = model.decoder.stem.weight.device
    scores: dict[str, list[Tensor]] = {}
    turns: dict[str, list[Tensor]] = {}
    for part in objects.split(AT_ONCE):
        target = views.views_of(part, numbers.expand(len(part), -1)).to(device)
        volume = model(target.objects)
        found = {"": model.seen(volume, target)[0]}
        if model.posing is not None:
            found["_refined"] = refined(volume, found[""], target, config)
        for name, cameras in found.items():
            colour, _ = render_views(volume, cameras, config)
            scores.setdefault(name, []).append(psnr(colour, target.colour).flatten())
        for name, cameras in {**found, "true": target.cameras}.items():
            turns.setdefault(name, []).append(cameras.world_from_camera[..., :3, :3].mT.flatten(0, 1).cpu())
    report = {f"unseen_psnr{name}_db": float(torch.cat(values).mean()) for name, values in scores.items()}
    true = torch.cat(turns.pop("true"))
    posed = ~true.isnan().flatten(1).any(1)
    if model.posing is not None and posed.any():
        for name, rotations in turns.items():
            angles = rotation_scores(torch.cat(rotations)[posed], true[posed])
            report |= {f"unseen_{key}{name}": angles[key] for key in ("rotation_error", "within_15_degrees", "flipped")}
    return report

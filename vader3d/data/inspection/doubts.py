"""Doubts about cameras by colours: do all views agree on them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from vader3d.data.archive.format import ObjectViews
from vader3d.data.reading.carving import carved, fit_of, seen_at, thickness

CELLS, SIDE = 40, 64  # cells of a hull's side; px of pictures that are asked
PLAIN = 6.0  # mean deviation of an object's colours, of 255, below which they tell nothing
CLEARLY, MUCH, NO_BETTER = (
    0.9,
    0.6,
    0.93,
)  # how a spread of colours compares that another reading of cameras would explain
AGREED, SOUND = 0.1, 0.14  # of an object's own deviation: what colours that agree have; less is beyond doubt
WORSE = 1.05  # how a spread compares that lenses wrong the other way, too, would have
MANY = 10  # views: of fewer, focal lengths cannot be told by colours
FOCALS = (0.5, 0.67, 1.5, 2.0)


def colour_doubts(views: ObjectViews) -> list[str]:
    """Faults of cameras whose silhouettes may be explained, and whose colours are not; none where colours are plain."""
    views = small(views)
    own, plain = spread(views)
    if not np.isfinite(own) or plain < PLAIN:
        return []
    if len(views.pictures) >= MANY and hues(views) > PLAIN:
        focal, best = min(((focal, spread(refocused(views, focal))[0]) for focal in FOCALS), key=lambda pair: pair[1])
        better = best < min(CLEARLY * own, AGREED * plain) or best < min(MUCH * own, 2 * AGREED * plain)
        worse = spread(refocused(views, 1 / focal))[0] > WORSE * own  # the other way: else it is chance
        if better and worse and shape_fits(refocused(views, focal)) > shape_fits(views) - 0.002:
            more = "are they for another picture size?"
            return [f"colours agree better with focal lengths of {focal:g} times these: {more}"]
    if own < SOUND * plain:
        return []
    turned = spread(changed(views, lambda matrices: matrices @ torch.diag(matrices.new_tensor([-1, -1, 1, 1]))))[0]
    if turned < CLEARLY * own:
        return ["colours agree better with pictures turned by 180 degrees: are they or the poses upside down?"]
    order = np.random.default_rng(0).permutation(len(views.pictures))
    shuffled = spread(views._replace(pictures=views.pictures[order]))[0]
    if own > NO_BETTER * shuffled:
        return ["colours agree no better than those of shuffled pictures: do poses and pictures belong together?"]
    return []


def hues(views: ObjectViews) -> float:
    """Mean deviation of an object's colours, of 255, from more or less of one: what light and shade are not."""
    colours = views.pictures[views.pictures[..., 3] >= 128][:, :3].astype(float)
    one = colours.mean(0) / max(np.linalg.norm(colours.mean(0)), 1e-9)
    return float(np.sqrt(((colours - (colours @ one)[:, None] * one) ** 2).mean()))


def shape_fits(views: ObjectViews) -> float:
    return fit_of(views.cameras, views.pictures[..., 3] >= 128)


def small(views: ObjectViews) -> ObjectViews:
    """Every n-th pixel, of pictures of about 64 px."""
    step = max(1, views.pictures.shape[1] // SIDE)
    return ObjectViews(views.pictures[:, ::step, ::step], views.cameras.strided(step, 0, 0))


def changed(views: ObjectViews, change: Callable[[torch.Tensor], torch.Tensor]) -> ObjectViews:
    matrices = change(views.cameras.world_from_camera)
    return views._replace(cameras=replace(views.cameras, world_from_camera=matrices))


def refocused(views: ObjectViews, factor: float) -> ObjectViews:
    lenses = views.cameras.intrinsics * views.cameras.intrinsics.new_tensor([factor, factor, 1, 1])
    return views._replace(cameras=replace(views.cameras, intrinsics=lenses))


def spread(views: ObjectViews) -> tuple[float, float]:
    """How far the colours of one place differ from view to view, and how far the object's do; of 255, as means.

    Places are on the surface of the masks' hull, seen where no other hides them. Infinity where there is no hull.
    """
    from scipy.ndimage import binary_erosion, minimum_filter

    masks = views.pictures[..., 3] >= 128
    hull = carved(views.cameras, masks)
    if hull is None:
        return np.inf, 0.0
    matrices, lenses = views.cameras.world_from_camera.double().numpy(), views.cameras.intrinsics.double().numpy()
    axes = [low + (np.arange(CELLS) + 0.5) / CELLS * (high - low) for low, high in hull.box.T]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    solid = np.ones(len(points), bool)
    places = [seen_at(points, matrix, lens, masks.shape[1:]) for matrix, lens in zip(matrices, lenses, strict=True)]
    for mask, (row, column, inside) in zip(masks, places, strict=True):
        solid &= mask[row, column] & inside
    grid = solid.reshape(CELLS, CELLS, CELLS)
    shell = np.flatnonzero(grid & ~binary_erosion(grid))
    if not len(shell):
        return np.inf, 0.0
    cell = float((np.ptp(hull.box, axis=0) / CELLS).max())
    total, squares, seen = np.zeros((len(shell), 3)), np.zeros((len(shell), 3)), np.zeros(len(shell))
    for picture, matrix, lens, (row, column, _) in zip(views.pictures, matrices, lenses, places, strict=True):
        row, column = row[shell], column[shell]
        depth = (points[shell] - matrix[:3, 3]) @ matrix[:3, 2]
        nearest = np.full(picture.shape[:2], np.inf)
        np.minimum.at(nearest, (row, column), depth)
        wide = 2 * thickness(cell / 2, points[shell], matrix, lens, max(picture.shape)) + 1
        shown = depth < minimum_filter(nearest, wide)[row, column] + 1.5 * cell
        colours = np.where(shown[:, None], picture[row, column, :3].astype(float), 0)
        total, squares, seen = total + colours, squares + colours**2, seen + shown
    often = seen > 2
    if not often.any():
        return np.inf, 0.0
    count = seen[often, None]
    variance = np.maximum(squares[often] / count - (total[often] / count) ** 2, 0).mean(1)
    return float(np.sqrt(variance).mean()), float(views.pictures[..., :3][masks].astype(float).std(0).mean())

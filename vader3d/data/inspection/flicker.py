"""Views whose masks spoil the shape that all others agree on."""

import numpy as np
import torch

from vader3d.data.archive.format import ObjectViews
from vader3d.data.inspection.hull import explained_share, explained_shares, missed_cells

EXPLAINED, CLEARLY, SURE = 0.95, 0.96, 0.985  # shares of silhouettes: of sound data; of what is left of it; no doubt
OWN = 0.9  # of a sound view's own silhouette
CELLS = 32
MANY = 16  # views, of which a third may be bad: fewer cannot tell them from wrong cameras


def odd_masks(views: ObjectViews) -> tuple[list[int], float]:
    """The views whose masks lack what all others show, or have what none explains, and what share is then explained.

    View by view the one is left out that alone, or almost, sees past most cells, until one shape explains the
    silhouettes of the rest. At most a third of the views, an eighth of a few, are called bad; where that is not
    enough, none is, and the cameras are wrong. The share is of all views then.
    """
    count = len(views.pictures)
    most = count // (3 if count >= MANY else 8)
    missed = missed_cells(views, cells=CELLS)
    whole = share = explained_share(views, hull_of(missed))
    rest = np.ones(count, bool)
    while whole < EXPLAINED and share < SURE and (~rest).sum() < most:
        times = missed[rest].sum(0)
        weights = np.where((times > 0) & (times <= most), 1 / np.maximum(times, 1) ** 2, 0)
        rest[np.where(rest, missed @ weights, -1).argmax()] = False
        share = explained_share(chosen(views, rest), hull_of(missed[rest]))
    if share < (EXPLAINED if rest.all() else CLEARLY):
        return [], whole
    own = explained_shares(views, hull_of(missed[rest])) < OWN
    return np.flatnonzero(~rest | (own if own.sum() <= most else False)).tolist(), share


def hull_of(missed: np.ndarray) -> np.ndarray:
    return ~missed.any(0).reshape(CELLS, CELLS, CELLS)


def chosen(views: ObjectViews, which: np.ndarray) -> ObjectViews:
    return ObjectViews(views.pictures[which], views.cameras[torch.from_numpy(np.flatnonzero(which))])

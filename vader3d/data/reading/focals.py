"""Tells which picture size focal lengths are for, where files do not."""

from vader3d.data.archive.format import ObjectViews
from vader3d.data.inspection.doubts import refocused, small, spread
from vader3d.data.reading.carving import fit_of
from vader3d.data.reading.pictures import SOLID

FACTORS = (0.5, 0.25, 0.125, 2.0)  # of focal lengths, for pictures that were made smaller, or larger
USUAL = (0.4, 4.0)  # focal lengths in sides of a picture: others are not asked about
FEW = 6  # views: fewer tell nothing
FITS_MORE, AS_WELL = 0.01, 0.002  # of the masks that one shape explains
CLEARER, AS_CLEAR = 0.92, 1.05  # how the spreads of colours compare
UNKNOWN = "lenses: nothing says for which picture size their px are; taken as for these: if not, give w and h"


def likely_factor(views: ObjectViews) -> tuple[float, str]:
    """By how much focal lengths are to be multiplied, and what is said of it: of usual factors, the one that tells.

    Right ones let one shape explain more of the masks, and colours of one place differ less from view to view.
    """
    if len(views.pictures) < FEW:
        return 1.0, UNKNOWN
    views = small(views)
    focal = float(views.cameras.intrinsics[:, 0].median()) / views.pictures.shape[2]
    asked = [1.0, *(factor for factor in FACTORS if USUAL[0] <= factor * focal <= USUAL[1])]
    scores = {factor: score(refocused(views, factor)) for factor in asked}
    told = [one for one in asked if all(is_better(scores[one], scores[other]) for other in asked if other != one)]
    if not told:
        return 1.0, UNKNOWN
    if told[0] == 1:
        return 1.0, ""
    return told[0], f"lenses: for pictures of {1 / told[0]:g} times this size, by masks and colours: scaled"


def score(views: ObjectViews) -> tuple[float, float]:
    """The share of the masks that one shape explains, and the spread of its colours."""
    return fit_of(views.cameras, views.pictures[..., 3] >= SOLID), spread(views)[0]


def is_better(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether one score is clearly better by either, and not worse by the other."""
    (fit, colours), (other_fit, other_colours) = one, other
    by_shape = fit > other_fit + FITS_MORE and colours <= AS_CLEAR * other_colours
    return by_shape or (colours < CLEARER * other_colours and fit >= other_fit - AS_WELL)

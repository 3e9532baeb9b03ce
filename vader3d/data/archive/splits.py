"""Which views of an object train, and which judge."""

HELDOUT_EVERY = 6


def heldout_views(view_count: int) -> list[int]:
    """Every sixth view (5, 11, 17, ...) is kept for judging; with fewer than six views none is."""
    return list(range(HELDOUT_EVERY - 1, view_count, HELDOUT_EVERY))


def training_views(view_count: int) -> list[int]:
    """The views that are not held out."""
    return [view for view in range(view_count) if view % HELDOUT_EVERY != HELDOUT_EVERY - 1]

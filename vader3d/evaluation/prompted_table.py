"""The table of scores of prompted samples."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from vader3d.evaluation.score import Score

RANKS = (1, 5, 10)
GROUPS = {
    "prompts": ("Prompts", "Of new wordings of what training knows."),
    "heldout_pairs": ("Held-out pairs", "Of a colour and a type that training never met together."),
    "captions": ("Captions", "Of training objects."),
    "real": ("Real pictures", "Held-out views of real objects, judged in the same way: the ceiling."),
}
ATTRIBUTES = {
    "colour": "the colour of most of the object's pixels is the one named",
    "type": "most of the nearest real pictures are of the type named",
    "pair": "colour and type are both as named",
    "legs": "most of the nearest real pictures have the legs named",
    "back": "most of the nearest real pictures have the back named",
    "arms": "most of the nearest real pictures have arms, or none, as named",
}
SHUFFLED = "The same samples judged by each other's prompts: chance."


def prompted_entries(of_sets: Iterable[Score]) -> Iterator[Score]:
    """In the order in which a reader wants them. of_sets: the distances to real pictures."""
    for key, what in ATTRIBUTES.items():
        for group, (title, which) in GROUPS.items():
            meaning = f"Share of samples of which {what}. {which}"
            yield Score(f"{key}_percent_{group}", f"{key} right", "%", "higher", meaning, title)
            control = f"{key} right, prompts shuffled"
            yield Score(f"{key}_percent_{group}_shuffled", control, "%", "", SHUFFLED, title)
    for key in ("colour", "type", "pair"):
        meaning = "Share that is right of held-out pairs over that of the pairs that training knows."
        yield Score(f"heldout_ratio_{key}", f"{key} right, held-out / known", better="higher", meaning=meaning)
    for rank in RANKS:
        for group in ("captions", "real"):
            title, which = GROUPS[group]
            meaning = f"Share of samples whose caption is among the {rank} most like them of all captions. {which}"
            yield Score(f"retrieval_{rank}_{group}", f"R@{rank}", "%", "higher", meaning, title)
            control = f"R@{rank}, prompts shuffled"
            yield Score(f"retrieval_{rank}_{group}_shuffled", control, "%", "", SHUFFLED, title)
    for one in of_sets:
        meaning = f"{one.meaning} Samples of captions, as many as there are without prompts."
        yield replace(one, key=f"{one.key}_prompted", of="Prompted objects", meaning=meaning)
    meaning = "Ratio of the Frechet distances. Below 1, prompts make samples more like real pictures."
    yield Score("frechet_ratio_prompted", "prompted / without prompts", better="lower", meaning=meaning)
    for group in ("prompts", "heldout_pairs", "captions"):
        title, which = GROUPS[group]
        meaning = f"By pictures, as of samples without prompts. A share well over the null's is memorisation. {which}"
        yield Score(f"copied_percent_{group}_pictures", "flagged as copies", "%", "lower", meaning, title)
        meaning = f"Median distance to the nearest training object, in that one's own to its nearest other. {which}"
        yield Score(f"local_ratio_{group}_pictures", "local distance to training", "", "", meaning, title)
        yield Score(f"asked_{group}", "prompts asked", meaning=f"At every scale of guidance. {which}", of=title)
    yield Score("guidance_scale", "guidance scale", meaning="Of the scores of prompted samples above.")

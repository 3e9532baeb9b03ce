"""One score of a report: what it is called and means."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Score:
    """One key of a report: what is measured (`measure`) of what (`of`, empty where that needs no words).

    unit: "" for plain numbers. better: which way; "" where neither way is. meaning: whole sentences.
    """

    key: str
    measure: str
    unit: str = ""
    better: Literal["higher", "lower", ""] = ""
    meaning: str = ""
    of: str = ""

    @property
    def name(self) -> str:
        """The measure alone, as a heading."""
        return self.measure[:1].upper() + self.measure[1:]

    @property
    def title(self) -> str:
        return f"{self.of}, {self.measure}" if self.of else self.name

    @property
    def direction(self) -> str:
        return f"{self.better} is better" if self.better else ""

    @property
    def heading(self) -> str:
        """The title with the direction that is better."""
        return f"{self.title} ({self.direction})" if self.better else self.title

"""What a check is: a measured value, what it is held against, a verdict and what to change.

Covers the record of one check and the grading of numbers. Does not cover how values are measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["ok", "look", "bad", "none"]
"""``look``: worth a look; ``none``: not measured, or nothing to judge."""

VERDICTS: tuple[Verdict, ...] = ("bad", "look", "ok", "none")
"""From the worst to no verdict at all."""


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the report."""

    name: str
    """Short name, unique within a report."""
    group: str
    """Heading under which it stands."""
    title: str
    """What is checked."""
    shown: str
    """The value as a reader wants it."""
    limit: str
    """What it is held against."""
    verdict: Verdict
    """Whether all is well."""
    advice: str = ""
    """What to change when it is not."""
    value: float | None = None
    """The number that was judged, if there is one."""
    details: tuple[str, ...] = ()
    """One line for each exposure or object worth naming."""
    picture: str = ""
    """Name of the picture that shows it, if any."""


def grade(value: float, look: float, bad: float) -> Verdict:
    """Verdict on a number that should be small: up to `look` it is well, above `bad` it is not."""
    if not math.isfinite(value):
        return "none"
    if value > bad:
        return "bad"
    return "look" if value > look else "ok"


def worst(verdicts: list[Verdict]) -> Verdict:
    """The worst of several verdicts; ``none`` when there are none."""
    return min(verdicts, key=VERDICTS.index, default="none")


@dataclass(frozen=True, slots=True)
class CheckKind:
    """What stays the same of a check whatever is measured."""

    name: str
    """Short name, unique within a report."""
    group: str
    """Heading under which it stands."""
    title: str
    """What is checked."""
    limit: str
    """What the value is held against."""
    advice: str
    """What to change when it fails."""
    picture: str = ""
    """Name of the picture that shows it, if any."""

    def of(
        self, verdict: Verdict, shown: str, value: float | None = None, details: tuple[str, ...] = ()
    ) -> Check:
        """The check with its outcome; advice goes along only where something is to be done."""
        advice = self.advice if verdict in {"look", "bad"} else ""
        finite = value if value is not None and math.isfinite(value) else None
        return Check(
            self.name,
            self.group,
            self.title,
            shown,
            self.limit,
            verdict,
            advice,
            finite,
            details,
            self.picture,
        )

    def graded(
        self,
        value: float,
        limits: tuple[float, float],
        shown: str,
        details: tuple[str, ...] = (),
    ) -> Check:
        """The check of a number that should not exceed `limits` (look, bad)."""
        return self.of(grade(value, *limits), shown, value, details)

    def unknown(self, reason: str) -> Check:
        """The check when it cannot be made."""
        return self.of("none", reason)

"""States of a job, what can happen to it, and the one table that says what follows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from mosaic.errors import MosaicError


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobEvent(StrEnum):
    """What happens to a job."""

    START = "start"
    """A process was started for it."""
    FINISH = "finish"
    """Its process wrote all products."""
    FAIL = "fail"
    """Its process ended with an error that the same run would meet again."""
    LOSE = "lose"
    """Its process, its scheduler or the service died: what is finished is kept, the rest is to be done."""
    CANCEL = "cancel"
    """Somebody asked it to stop."""
    RETRY = "retry"
    """Somebody asked for another attempt."""


class IllegalTransitionError(MosaicError):
    """Raised when an event makes no sense in the state of a job: look at it and ask for something else."""


TRANSITIONS: Final[Mapping[tuple[JobState, JobEvent], JobState]] = MappingProxyType(
    {
        (JobState.QUEUED, JobEvent.START): JobState.RUNNING,
        (JobState.QUEUED, JobEvent.CANCEL): JobState.CANCELLED,
        (JobState.QUEUED, JobEvent.FAIL): JobState.FAILED,
        (JobState.RUNNING, JobEvent.FINISH): JobState.DONE,
        (JobState.RUNNING, JobEvent.FAIL): JobState.FAILED,
        (JobState.RUNNING, JobEvent.LOSE): JobState.QUEUED,
        (JobState.RUNNING, JobEvent.CANCEL): JobState.CANCELLING,
        # A run that was ready before it could be stopped is done: its products are whole.
        (JobState.CANCELLING, JobEvent.FINISH): JobState.DONE,
        (JobState.CANCELLING, JobEvent.FAIL): JobState.FAILED,
        (JobState.CANCELLING, JobEvent.LOSE): JobState.CANCELLED,
        (JobState.CANCELLING, JobEvent.CANCEL): JobState.CANCELLING,
        (JobState.FAILED, JobEvent.RETRY): JobState.QUEUED,
        (JobState.CANCELLED, JobEvent.RETRY): JobState.QUEUED,
    }
)
"""(state, event) -> state; what is absent is illegal."""

ACTIVE: Final = frozenset({JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING})
"""States that end by themselves."""
IN_PROCESS: Final = frozenset({JobState.RUNNING, JobState.CANCELLING})
"""States in which a process works for the job."""


def require_over(state: JobState) -> None:
    """Refuse to delete a job that has not ended.

    Raises
    ------
    IllegalTransitionError
        When it has not.
    """
    if state in ACTIVE:
        raise IllegalTransitionError(
            f"a job that is {state} cannot be deleted; cancel it, or wait for its end"
        )


def next_state(state: JobState, event: JobEvent) -> JobState:
    """State that follows.

    Raises
    ------
    IllegalTransitionError
        When the event makes no sense in this state.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        possible = sorted(str(known) for held, known in TRANSITIONS if held is state)
        hint = f"possible: {', '.join(possible)}" if possible else "nothing more can happen to it"
        raise IllegalTransitionError(f"a job that is {state} cannot {event}; {hint}") from None

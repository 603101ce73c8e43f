"""The table of transitions: complete, and without a way to lose a job."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.jobs.state import (
    ACTIVE,
    IN_PROCESS,
    TRANSITIONS,
    IllegalTransitionError,
    JobEvent,
    JobState,
    next_state,
    require_over,
)

LEGAL = {
    "queued": {"start": "running", "cancel": "cancelled", "fail": "failed"},
    "running": {"finish": "done", "fail": "failed", "lose": "queued", "cancel": "cancelling"},
    "cancelling": {"finish": "done", "fail": "failed", "lose": "cancelled", "cancel": "cancelling"},
    "done": {},
    "failed": {"retry": "queued"},
    "cancelled": {"retry": "queued"},
}
"""What a reader of the documentation expects, written down a second time."""


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("event", JobEvent)
def test_every_pair_does_what_is_documented(state: JobState, event: JobEvent) -> None:
    wanted = LEGAL[state].get(event)
    if wanted is None:
        with pytest.raises(IllegalTransitionError, match=f"a job that is {state} cannot {event}"):
            next_state(state, event)
    else:
        assert next_state(state, event) == wanted


def test_active_jobs_can_end_and_others_end_only_when_asked() -> None:
    for state in JobState:
        events = {event for held, event in TRANSITIONS if held is state}
        assert (state in ACTIVE) == bool(events - {JobEvent.RETRY}), state
    assert IN_PROCESS < ACTIVE


def test_only_jobs_that_have_ended_can_be_deleted() -> None:
    for state in JobState:
        if LEGAL[state].keys() <= {"retry"}:
            require_over(state)
        else:
            with pytest.raises(IllegalTransitionError, match=f"a job that is {state} cannot be deleted"):
                require_over(state)


@given(st.lists(st.sampled_from(JobEvent), max_size=40))
def test_from_every_state_that_can_be_reached_a_job_can_still_be_done(events: list[JobEvent]) -> None:
    state = JobState.QUEUED
    for event in events:
        state = TRANSITIONS.get((state, event), state)
    reachable, fresh = {state}, {state}
    while fresh:
        fresh = {TRANSITIONS[pair] for pair in TRANSITIONS if pair[0] in fresh} - reachable
        reachable |= fresh
    assert JobState.DONE in reachable

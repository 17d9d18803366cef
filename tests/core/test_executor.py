"""What is asked of a place, and how long it waits for ranks."""

from __future__ import annotations

import pytest

from herd.core.executor import RestartPolicy


@pytest.mark.parametrize("silent", [0.5, 30.0, 600.0])
def test_ranks_that_live_and_get_nowhere_have_more_time_than_silent_ones(silent: float) -> None:
    patience = RestartPolicy(timeout_seconds=silent)
    assert silent < patience.idle_seconds < patience.stuck_seconds
    # One that computes (a long step) has ten times as long as one that does not.
    assert patience.stuck_seconds == pytest.approx(10 * patience.idle_seconds)


def test_by_itself_it_waits_half_a_minute_and_starts_three_times_again() -> None:
    assert (RestartPolicy().timeout_seconds, RestartPolicy().idle_seconds, RestartPolicy().max_restarts) == (30, 60, 3)
    assert RestartPolicy() == RestartPolicy(30.0, 3)

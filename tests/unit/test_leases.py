"""What a reaper must have seen before it may reap (lease 9 s: 6 s of standing still, looks at most 3 s apart)."""

from windlass.core.clock import SECOND
from windlass.core.model import SessionSign
from windlass.engine.leases import Watch


def sign(renewals: int = 1, left: float = -1.0, *, revoked: bool = False) -> SessionSign:
    return SessionSign(b"s", renewals, round(left * SECOND), revoked)


def looks(watch: Watch, *times: float, renewals: int = 1, left: float = -1.0) -> list[bool]:
    return [bool(watch.look([sign(renewals, left)], now)) for now in times]


def test_a_session_is_dead_after_six_seconds_of_standing_still() -> None:
    assert looks(Watch(9 * SECOND), 0, 2, 4, 6) == [False, False, False, True]


def test_an_expired_lease_alone_proves_nothing() -> None:
    assert looks(Watch(9 * SECOND), 100.0) == [False], "the store's clock may have jumped"


def test_a_renewal_starts_the_wait_anew() -> None:
    watch = Watch(9 * SECOND)
    looks(watch, 0, 2, 4)
    assert looks(watch, 6, 8, 10, renewals=2) == [False, False, False]
    assert looks(watch, 12, renewals=2) == [True]


def test_time_without_successful_looks_does_not_count() -> None:
    assert looks(Watch(9 * SECOND), 0, 2, 4, 60, 62, 64) == [False] * 6, "the store was away: nobody could renew"


def test_standing_still_while_the_lease_runs_proves_nothing() -> None:
    watch = Watch(9 * SECOND)
    assert looks(watch, 0, 2, 4, 6, left=1.0) == [False] * 4
    assert looks(watch, 8) == [True], "but the time counted"


def test_a_revoked_session_needs_no_patience() -> None:
    assert Watch(9 * SECOND).look([sign(revoked=True)], 0.0)


def test_a_session_that_went_out_of_sight_is_watched_anew() -> None:
    watch = Watch(9 * SECOND)
    looks(watch, 0, 2, 4)
    watch.look([], 6)
    assert looks(watch, 8) == [False]


def test_a_session_with_a_longer_lease_than_the_reapers_is_given_its_own_time() -> None:
    watch = Watch(1 * SECOND)
    slow = SessionSign(b"s", 1, -SECOND, False, 9 * SECOND)
    assert not any(watch.look([slow], step * 0.25) for step in range(24)), "5.75 s"
    assert watch.look([slow], 6.0)


def test_a_reaper_that_looks_seldom_is_not_quicker_than_its_own_looks_allow() -> None:
    watch = Watch(9 * SECOND)
    quick = SessionSign(b"s", 1, -SECOND, False, SECOND)
    assert [bool(watch.look([quick], now)) for now in (0, 2, 4, 6)] == [False, False, False, True]

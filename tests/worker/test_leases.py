"""Leases as their owner measures them (D5)."""

from __future__ import annotations

from resonate_mq.worker.leases import Leases


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_lease_is_lost_a_margin_before_the_server_gives_the_task_away() -> None:
    clock = FakeClock()
    lease = Leases(10.0, clock).hold("t", 1, sent_at=clock.now)
    clock.now += 8.9
    assert not lease.is_lost()
    clock.now += 0.2
    assert lease.is_lost()
    assert clock.now - 100.0 < 10.0


def test_a_renewal_counts_from_when_it_was_sent() -> None:
    clock = FakeClock()
    lease = Leases(10.0, clock).hold("t", 1, sent_at=clock.now)
    sent_at = clock.now + 3
    clock.now += 8
    lease.renewed(sent_at)
    clock.now = sent_at + 8.9
    assert not lease.is_lost()
    clock.now = sent_at + 9.1
    assert lease.is_lost()


def test_a_lost_lease_stays_lost_whatever_is_answered_later() -> None:
    clock = FakeClock()
    leases = Leases(10.0, clock)
    lease = leases.hold("t", 1, sent_at=clock.now)
    clock.now += 20
    lease.renewed(clock.now)
    assert lease.is_lost()
    assert leases.held() == []
    given_up = leases.hold("u", 1, sent_at=clock.now)
    given_up.give_up()
    assert given_up.is_lost()
    assert given_up.left_s() == 0.0


def test_dropping_an_old_lease_keeps_the_newer_one_of_the_same_task() -> None:
    leases = Leases(10.0, FakeClock())
    old = leases.hold("t", 1, sent_at=100.0)
    new = leases.hold("t", 2, sent_at=100.0)
    leases.drop(old)
    assert leases.held() == [new]
    leases.drop(new)
    assert len(leases) == 0

"""The order of reads: each is in the frame once or told to be lost once, whatever comes."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from lightmill.observatories.tmt.iris.live.order import WINDOW, Lost, Order, Taken, Unused


def read(index, time=None):
    return SimpleNamespace(index=index, time=float(index + 1) if time is None else time)


def happened(order, reads, *, end=True):
    events = [event for one in reads for event in order.offer(one)]
    return events + list(order.flush()) if end else events


def taken(events):
    return [event.read.index for event in events if isinstance(event, Taken)]


def lost(events):
    return [event.place for event in events if isinstance(event, Lost)]


@given(st.lists(st.integers(0, 11), max_size=40))
def test_every_read_is_taken_once_in_order_or_lost_once(indices):
    events = happened(Order(6, 12), [read(index) for index in indices])

    assert taken(events) == sorted(taken(events))
    assert sorted(taken(events) + lost(events)) == list(range(12))
    assert sum(isinstance(event, Unused) for event in events) + len(taken(events)) == len(indices)


@given(st.permutations(range(12)))
def test_reads_that_swap_places_within_the_window_lose_nothing(places):
    # a read is at most WINDOW places early: those that are further are sorted away
    near = sorted(
        range(12), key=lambda index: index + min(places[index], WINDOW) + 0.1 * index / 12
    )

    events = happened(Order(12, 12), [read(index) for index in near])

    assert taken(events) == list(range(12))
    assert not lost(events)


def test_a_read_is_waited_for_until_the_window_is_full():
    order = Order(8, 8)

    early = happened(order, [read(0), read(2), read(3)], end=False)
    full = happened(order, [read(4)], end=False)
    late = happened(order, [read(1)], end=False)

    assert taken(early) == [0]
    assert (lost(full), taken(full)) == ([1], [2, 3, 4])
    assert [type(one) for one in late] == [Unused]
    assert "too late" in late[0].why


def test_time_that_goes_backwards_loses_the_read_and_not_the_others():
    events = happened(Order(4, 4), [read(0), read(1), read(2, time=1.5), read(3)])

    assert taken(events) == [0, 1, 3]
    assert [one.why for one in events if isinstance(one, Lost)] == [
        "its time goes backwards: 1.5 s after 2 s"
    ]


def test_time_begins_anew_with_each_ramp():
    reads = [read(index, time=1.0 + index % 3) for index in range(6)]

    assert taken(happened(Order(3, 6), reads)) == list(range(6))


def test_a_damaged_read_that_comes_again_is_taken():
    order = Order(3, 3)

    events = happened(order, [read(0)], end=False)
    events += order.refuse(1, "it is damaged")
    events += happened(order, [read(1), read(2)])

    assert taken(events) == [0, 1, 2]
    assert not lost(events)


def test_a_damaged_read_that_does_not_come_again_says_why():
    order = Order(3, 3)

    events = happened(order, [read(0)], end=False)
    events += order.refuse(1, "it is damaged")
    events += happened(order, [read(2)])

    assert [(one.place, one.why) for one in events if isinstance(one, Lost)] == [
        (1, "it is damaged")
    ]

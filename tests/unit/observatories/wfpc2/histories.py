"""Histories of an archive, whoever delivers them in whatever order, and who does the work."""

import itertools

from hypothesis import Phase, settings
from hypothesis import strategies as st

from lightmill.errors import DataError
from lightmill.observatories.hst.wfpc2 import events
from lightmill.observatories.hst.wfpc2.maintenance import Archive, maintain
from lightmill.observatories.hst.wfpc2.previews import POLICIES
from lightmill.observatories.hst.wfpc2.state import State

GENERATIONS = ("199801010000", "199802010000", "199803010000")


class Workshop:
    """Pointings of every generation, some of which cannot be read."""

    def __init__(self, pointings, broken=()):
        self.pointings = pointings  # (jitter dataset, generation) → Pointing
        self.broken = set(broken)
        self.previews = []

    def extract(self, dataset, gen_date_str, generation):
        del generation
        if (dataset, gen_date_str) in self.broken:
            raise DataError("cannot be read", place=dataset)
        return self.pointings[dataset, gen_date_str]

    def preview(self, association):
        self.previews.append(association.assoc_id)


def arrive(archive, dataset, generation, content=""):
    kind = "OMS" if dataset.endswith("J") else "CAL"
    archive.record(events.Arrived(dataset, kind, generation, content))


@st.composite
def histories(draw):
    """Draw exposures, generations of their data, corrections, and the order they come in."""
    count = draw(st.integers(2, 6))
    rows = [
        (draw(st.sampled_from([90001, 90002])), draw(st.sampled_from([100.0, 200.0, 300.0])))
        for _ in range(count)
    ]
    arrivals, steps, broken = [], {}, []
    for number in range(count):
        for letter in "TJ":
            for generation in draw(st.sets(st.sampled_from(GENERATIONS))):
                arrivals.append((number, letter, generation))
                if letter == "J":
                    steps[number, generation] = draw(st.sampled_from([0.0, 0.3, 25.0]))
                    if draw(st.integers(0, 4)) == 0:
                        broken.append((number, generation))
    changes = [
        (number, column, value)
        for number in range(count)
        for column, value in (("exptime", "250.0"), ("filtnam1", "F814W"), ("targname", "OTHER"))
        if draw(st.integers(0, 4)) == 0
    ]
    items = [("arrival", one) for one in arrivals] + [("change", one) for one in changes]
    order = draw(st.permutations(items))
    again = draw(st.lists(st.sampled_from(arrivals), max_size=4)) if arrivals else []
    for one in again:
        order.insert(draw(st.integers(0, len(order))), ("arrival", one))
    cuts = sorted(draw(st.lists(st.integers(0, len(order)), max_size=4)))
    return rows, steps, broken, items, order, cuts


class Told:
    """Plays histories; exposures are taken `apart` days from each other."""

    def __init__(self, history, make_exposure, make_pointing, apart=0):
        self.rows, steps, broken, self.items, self.order, self.cuts = history
        self.exposures = [
            make_exposure(
                n, pep_id=pep, exptime=time, start_time=f"1997-03-{1 + apart * n:02d}T00:{n:02d}:00"
            )
            for n, (pep, time) in enumerate(self.rows)
        ]
        pointings = {}
        for (n, generation), step in steps.items():
            looked = make_exposure(n, step)
            pointings[f"{looked.root}J", generation] = make_pointing(looked, generation=generation)
        unreadable = [(f"{self.exposures[n].root}J", g) for n, g in broken]
        self.workshop = Workshop(pointings, unreadable)

    def play(self, items, cuts, write=None, *, rules=None, times=(None,)):
        """Deliver items in order, with a round of maintenance at each cut and at the end.

        The rounds are at these times, the last round at the last of them.
        """
        found, last = Archive(State(), write), times[-1]
        times = itertools.chain(times, itertools.repeat(last))
        for one in self.exposures:
            found.record(events.Described(one))
        if rules is not None:
            found.record(events.Adopted(rules))
        for begin, end in itertools.pairwise([0, *cuts, len(items)]):
            self.deliver(found, items[begin:end])
            maintain(found, self.workshop, policies=POLICIES, now=next(times))
        maintain(found, self.workshop, policies=POLICIES, now=last)
        return found.state

    def deliver(self, found, items):
        for kind, (number, *what) in items:
            one = self.exposures[number]
            if kind == "change":
                found.record(events.Changed(one.dataset_name, *what))
            else:
                arrive(found, one.root + what[0], what[1])


LAW = settings(max_examples=80, phases=[p for p in Phase if p is not Phase.shrink])

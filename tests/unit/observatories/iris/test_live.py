"""Detectors watched: what is in the frame when all goes well, and when it does not.

Counts are whole numbers without noise, so that a rate comes back to the rounding of float32.
"""

import itertools
import re
import socket
import struct
import threading

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal

from lightmill import models
from lightmill.errors import ConfigurationError, DataError, OutputError
from lightmill.models.dq import PIXEL
from lightmill.observatories.tmt.iris import playing
from lightmill.observatories.tmt.iris.live import wire
from lightmill.observatories.tmt.iris.live.files import read_file, write_read
from lightmill.observatories.tmt.iris.live.reads import Exposure, Read
from lightmill.observatories.tmt.iris.live.sources import FolderSource, source_of
from lightmill.observatories.tmt.iris.live.station import SELDOM, Station
from lightmill.observatories.tmt.iris.live.watching import Settings, Watch

SHAPE = (12, 16)
RATE = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) % 50 + 1  # [DN/s]
ROUNDING = 4e-7  # of float32, some operations
CARDS = {
    "TELESCOP": "TMT", "INSTRUME": "IRIS", "DETECTOR": "IMG1", "FILTER": "K", "PUPIL": "CLEAR",
    "IMTYPE": "SCI", "SAMPMODE": "UTR", "DATE-OBS": "2026-11-29", "TIME-OBS": "10:00:00.000",
    "GAIN": 1.0, "READNOIS": 9.0, "TGROUP": 1.0, "SUBARRAY": "FULL", "SUBSTRT1": 1, "SUBSTRT2": 1,
    "SUBSIZE1": SHAPE[1], "SUBSIZE2": SHAPE[0],
}  # fmt: skip
LOST = np.uint32(PIXEL["DROPOUT"])
UNUSABLE = np.uint32(PIXEL["DO_NOT_USE"])


def exposure(name="e1", reads=8, ramps=1, detector="IMG1", **cards):
    return Exposure(name, detector, reads, ramps, SHAPE, "uint16", {**CARDS, **cards})


def reads_of(one, rate=RATE):
    """Reads of a second each: 1000 DN and what came since the reset."""
    return [
        Read(one, ramp, number, float(number), (1000 + rate * number).astype(np.uint16))
        for ramp in range(1, one.ramps + 1)
        for number in range(1, one.reads + 1)
    ]


class Given:
    """A source of reads that are at hand."""

    address = "at hand"

    def __init__(self, reads):
        self.reads = reads

    def run(self, sink, ends):  # noqa: ARG002 - it ends by itself
        for one in self.reads:
            sink.damaged(*one) if isinstance(one, tuple) else sink.take(one)

    def close(self):
        pass


class Seen:
    """What became of a watch: messages, products, and every look."""

    def __init__(self, folder, reads, **settings):
        self.looks = []
        self.watch = Watch(Settings(folder, **{"patience": 0.3, **settings}))
        self.watch.glimpsed.append(self._look)
        self.report = self.watch.run(Given(reads) if isinstance(reads, list) else reads)
        self.messages = "\n".join(self.report.messages)

    def _look(self, station):
        with station.look.guard:
            self.looks.append((station.look.reads, np.array(station.look.frame.signal)))

    @property
    def frame(self):
        """The only frame."""
        (path,) = self.report.written
        return models.open(path)


@pytest.fixture
def watched(tmp_path):
    return lambda reads, **settings: Seen(tmp_path, reads, **settings)


# -- nothing goes wrong ------------------------------------------------------------------------


def test_the_rate_comes_back_and_every_read_is_looked_at(watched):
    seen = watched(reads_of(exposure()))

    assert_allclose(seen.frame.data, RATE, rtol=ROUNDING)
    assert_array_equal(seen.frame.dq, 0)
    assert seen.report.lost == 0
    for count, look in seen.looks:
        if count > 1:
            assert_allclose(look, RATE, rtol=2e-6)  # fewer reads, larger rounding of float32 sums
    assert seen.looks[-1][0] == 8


def test_a_frame_says_how_it_was_made(watched):
    seen = watched(reads_of(exposure()))

    (step,) = seen.frame.record["steps"]
    assert step["name"] == "live_readout"
    assert step["parameters"]["reads"]["value"] == 8
    assert seen.frame.meta.instrument.detector == "IMG1"


def test_ramps_are_coadded(watched):
    seen = watched(reads_of(exposure(reads=5, ramps=3)))

    assert_allclose(seen.frame.data, RATE, rtol=ROUNDING)


@pytest.mark.parametrize(("mode", "coadds"), [("CDS", 1), ("MCDS", 3)])
def test_differences_are_taken_as_the_header_says(watched, mode, coadds):
    seen = watched(reads_of(exposure(SAMPMODE=mode, NCOADD=coadds)))

    assert_allclose(seen.frame.data, RATE, rtol=ROUNDING)


def test_detectors_are_read_at_the_same_time(tmp_path):
    both = [reads_of(exposure(f"e-{one}", detector=one)) for one in ("IMG1", "IMG2")]

    seen = Seen(tmp_path, list(itertools.chain(*zip(*both, strict=True))))

    assert {path.name for path in seen.report.written} == {"e-IMG1_rop.fits", "e-IMG2_rop.fits"}


# -- reads that are not as they should be ---------------------------------------------------------


def without(reads, *numbers):
    return [one for one in reads if one.number not in numbers]


def swapped(reads):
    return [*reads[:2], reads[3], reads[2], *reads[4:]]


def test_reads_out_of_order_are_put_in_order(watched):
    seen = watched(swapped(reads_of(exposure())))

    assert_allclose(seen.frame.data, RATE, rtol=ROUNDING)
    assert_array_equal(seen.frame.dq, 0)
    assert seen.report.lost == 0


def test_a_read_twice_there_counts_once(watched):
    reads = reads_of(exposure())
    other = Read(reads[2].exposure, 1, 3, 3.0, reads[2].pixels + np.uint16(500))

    seen = watched([*reads[:3], other, *reads[3:]])

    assert_allclose(seen.frame.data, RATE, rtol=ROUNDING)
    assert "read 3 was left out: it was there already" in seen.messages


@pytest.mark.parametrize("number", [1, 4, 8])
def test_a_missing_read_is_told_and_flagged_and_biases_nothing(watched, number):
    seen = watched(without(reads_of(exposure()), number))

    assert_allclose(seen.frame.data, RATE, rtol=ROUNDING)
    assert_array_equal(seen.frame.dq, LOST)
    assert seen.report.lost == 1
    note = f"read {number} is not in the frame: it did not come"
    assert note in seen.messages
    assert note in seen.frame.history


@pytest.mark.parametrize("number", [1, 8])
def test_a_difference_without_its_first_or_last_read_is_no_value(watched, number):
    seen = watched(without(reads_of(exposure(SAMPMODE="CDS")), number))

    assert np.isnan(seen.frame.data).all()
    assert_array_equal(seen.frame.dq & (LOST | UNUSABLE), LOST | UNUSABLE)


def test_a_difference_does_not_miss_the_reads_between(watched):
    seen = watched(without(reads_of(exposure(SAMPMODE="CDS")), 3, 5))

    assert_allclose(seen.frame.data, RATE, rtol=ROUNDING)
    assert_array_equal(seen.frame.dq, LOST)


def test_a_read_of_the_wrong_size_is_left_out(watched):
    reads = reads_of(exposure())
    reads[3] = Read(reads[3].exposure, 1, 4, 4.0, np.zeros((12, 15), np.uint16))

    seen = watched(reads)

    assert_allclose(seen.frame.data, RATE, rtol=ROUNDING)
    assert_array_equal(seen.frame.dq, LOST)
    assert "its size is wrong: 12 × 15 uint16, not 12 × 16 uint16" in seen.messages


def test_a_read_whose_time_goes_backwards_is_left_out(watched):
    reads = reads_of(exposure())
    reads[4] = Read(reads[4].exposure, 1, 5, 2.5, reads[4].pixels)

    seen = watched(reads)

    assert_allclose(seen.frame.data, RATE, rtol=ROUNDING)
    assert_array_equal(seen.frame.dq, LOST)
    assert "its time goes backwards: 2.5 s after 4 s" in seen.messages


def test_a_read_the_exposure_does_not_have_is_left_out(watched):
    reads = reads_of(exposure())

    seen = watched([*reads[:4], Read(reads[0].exposure, 1, 99, 99.0, reads[0].pixels), *reads[4:]])

    assert_allclose(seen.frame.data, RATE, rtol=ROUNDING)
    assert_array_equal(seen.frame.dq, 0)
    assert "the exposure has 1 ramps of 8 reads" in seen.messages


def test_an_exposure_that_is_broken_off_is_finished_when_the_next_begins(tmp_path):
    first, second = reads_of(exposure("e1")), reads_of(exposure("e2"))

    seen = Seen(tmp_path, [*first[:5], *second, *first[5:]])

    one, two = (models.open(tmp_path / f"{name}_rop.fits") for name in ("e1", "e2"))
    for frame in (one, two):
        assert_allclose(frame.data, RATE, rtol=ROUNDING)
    assert_array_equal(one.dq, LOST)
    assert_array_equal(two.dq, 0)
    assert "e1 is ended before its last read: e2 has begun" in seen.messages


def test_an_exposure_without_two_reads_has_no_rate(watched):
    seen = watched(reads_of(exposure())[:1])

    assert np.isnan(seen.frame.data).all()
    assert_array_equal(seen.frame.dq, LOST | UNUSABLE)


def test_a_whole_ramp_may_be_lost(watched):
    reads = [one for one in reads_of(exposure(reads=4, ramps=3)) if one.ramp != 2]

    seen = watched(reads)

    assert_allclose(seen.frame.data, RATE, rtol=ROUNDING)
    assert_array_equal(seen.frame.dq, LOST)
    assert seen.report.lost == 4


def test_falling_behind_is_said_and_loses_no_read(watched):
    reads = [
        Read(one.exposure, 1, one.number, one.time, one.pixels, one.came - 60.0)
        for one in reads_of(exposure())
    ]

    seen = watched(reads)

    assert re.search(r"it does not keep up: read 1 is 6\d\.\d s old", seen.messages)
    assert_allclose(seen.frame.data, RATE, rtol=ROUNDING)
    assert seen.report.lost == 0


def test_keywords_that_break_the_schema_are_told_and_the_detector_goes_on(tmp_path):
    bad, good = exposure("bad", SAMPMODE="sideways"), exposure("good")

    seen = Seen(tmp_path, [*reads_of(bad), *reads_of(good)])

    assert [path.name for path in seen.report.written] == ["good_rop.fits"]
    assert "sideways" in seen.messages
    assert seen.report.failed == 1


# -- no room ----------------------------------------------------------------------------------------


def test_a_frame_waits_for_room_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("lightmill.observatories.tmt.iris.live.watching.RETRY", 0.01)
    seen = Watch(Settings(tmp_path, patience=0.3, room=30.0))
    sample, turns = seen._reducer.sample, []

    def without_room(*given, **more):
        turns.append(1)
        if len(turns) < 4:
            raise OutputError("the disk is full", place=tmp_path)
        return sample(*given, **more)

    monkeypatch.setattr(seen._reducer, "sample", without_room)
    report = seen.run(Given(reads_of(exposure())))

    (path,) = report.written
    assert_allclose(models.open(path).data, RATE, rtol=ROUNDING)
    assert sum("is not saved yet" in one for one in report.messages) == 1


def test_a_disk_that_stays_full_is_a_failure_and_leaves_nothing(tmp_path):
    from tests.disk import SmallDisk

    with SmallDisk(tmp_path / "disk", 1) as disk:
        disk.fill()
        seen = Seen(disk.folder, reads_of(exposure()), room=0.05)
        left = [path.name for path in disk.folder.iterdir() if path != disk.ballast]

    assert seen.report.failed == 1
    assert not seen.report.written
    assert "No space left" in seen.messages
    assert left == []


# -- little time -------------------------------------------------------------------------------------


def test_a_slow_reduction_makes_its_own_detector_wait_and_loses_nothing(tmp_path, monkeypatch):
    first, second = exposure("e1"), exposure("e2")
    other = exposure("f1", detector="IMG2")
    seen, gate, waits = Watch(Settings(tmp_path, patience=30.0)), threading.Event(), []
    sample = seen._reducer.sample

    def slow(*given, **more):
        assert gate.wait(30)
        return sample(*given, **more)

    def heard(text):
        waits.append("e2: the reduction does not keep up" in text)
        if waits[-1]:
            gate.set()  # only now the first frame can be saved

    monkeypatch.setattr(seen._reducer, "sample", slow)
    seen.heard.append(heard)
    report = seen.run(Given([*reads_of(first), *reads_of(other), *reads_of(second)]))

    assert sum(waits) == 1
    assert {path.name for path in report.written} == {
        f"{one}_rop.fits" for one in ("e1", "e2", "f1")
    }
    for path in report.written:
        assert_allclose(models.open(path).data, RATE, rtol=ROUNDING)


# -- through a folder -------------------------------------------------------------------------------


def test_a_read_is_the_same_after_a_file(tmp_path):
    (first, *_) = reads_of(exposure())

    again = read_file(write_read(tmp_path, first))

    assert_array_equal(again.pixels, first.pixels)
    assert (again.exposure, again.ramp, again.number) == (first.exposure, 1, 1)
    assert again.time == pytest.approx(first.time, abs=1e-6)  # the header has microseconds
    assert again.exposure.cards["FILTER"] == "K"


def test_files_are_read_as_they_appear_and_not_before_they_are_complete(tmp_path):
    reads, folder = reads_of(exposure()), tmp_path / "reads"
    folder.mkdir()
    (folder / ".e1_001_00004.fits.part").write_bytes(b"half of it")
    source = FolderSource(folder)
    for one in reads:
        write_read(folder, one)
    broken = folder / "e1_001_00004.fits"
    broken.write_bytes(broken.read_bytes()[:3000])

    seen = Seen(tmp_path, source, exposures=1)

    assert_allclose(seen.frame.data, RATE, rtol=ROUNDING)
    assert_array_equal(seen.frame.dq, LOST)
    assert f"{broken}: this is no read of a detector" in seen.messages
    assert "read 4 is not in the frame" in seen.messages


def test_a_file_that_is_no_read_is_told(tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.zeros((4, 4), np.uint16)).writeto(path)

    with pytest.raises(DataError, match=r"a\.fits: this is no read of a detector"):
        read_file(path)


# -- through a socket ---------------------------------------------------------------------------------


class Link:
    """A detector that does as the test says, at a watch's socket."""

    def __init__(self, folder, **settings):
        self.source = source_of(f"unix:{folder}/s")
        self.folder, self.settings = folder, {"exposures": 1, "patience": 5.0, **settings}
        self.seen = None
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self):
        self.seen = Seen(self.folder, self.source, **self.settings)

    def connected(self):
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(20)
        link.connect(self.source.address.removeprefix("unix:"))
        return link

    def over(self):
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.seen


def raw_of(read):
    """Bytes of a read on the wire."""
    ours, theirs = socket.socketpair()
    theirs.sendall(wire.TAKEN)
    with ours, theirs:
        wire.send(ours, read)
        theirs.settimeout(5)
        found = b""
        while len(found) < 28 or len(found) < _length(found):
            found += theirs.recv(1 << 16)
    return found


def _length(start):
    header, _, body, _ = struct.unpack("!IIQI", start[8:28])
    return 28 + header + body


def test_a_read_is_the_same_after_the_wire():
    (first, *_) = reads_of(exposure())
    ours, theirs = socket.socketpair()

    with ours, theirs:
        ours.sendall(raw_of(first))
        again = wire.receive(theirs)
        ours.close()
        end = wire.receive(theirs)

    assert_array_equal(again.pixels, first.pixels)
    assert (again, again.time, again.exposure.cards) == (first, 1.0, first.exposure.cards)
    assert end is None


def test_a_connection_that_drops_in_the_middle_loses_nothing(tmp_path):
    reads, detector = reads_of(exposure()), Link(tmp_path)
    with detector.connected() as link:
        for one in reads[:3]:
            assert wire.send(link, one) == wire.TAKEN
        link.sendall(raw_of(reads[3])[:200])

    with detector.connected() as link:
        answers = [wire.send(link, one) for one in reads[3:]]
    seen = detector.over()

    assert set(answers) == {wire.TAKEN}
    assert_allclose(seen.frame.data, RATE, rtol=ROUNDING)
    assert_array_equal(seen.frame.dq, 0)
    assert "connection 1 was lost" in seen.messages


def test_a_read_that_comes_damaged_is_asked_for_again(tmp_path):
    reads, detector = reads_of(exposure()), Link(tmp_path)
    damaged = bytearray(raw_of(reads[2]))
    damaged[-1] ^= 1
    with detector.connected() as link:
        for one in reads[:2]:
            wire.send(link, one)
        link.sendall(damaged)
        answer = link.recv(1)
        for one in reads[2:]:
            wire.send(link, one)
    seen = detector.over()

    assert answer == wire.AGAIN
    assert_allclose(seen.frame.data, RATE, rtol=ROUNDING)
    assert_array_equal(seen.frame.dq, 0)
    assert "a read came damaged" in seen.messages


def prefix(header, body=0, *, check=None):
    import zlib

    crc = zlib.crc32(header) if check is None else check
    return struct.pack("!8sIIQI", wire.MAGIC, len(header), crc, body, 0) + header


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + b" " * 20,
        prefix(b"{}"),
        prefix(b"[" * 60_000),
        prefix(b"{}", check=1),
        prefix(b'{"exposure": "../../x", "detector": "IMG1", "ramp": 1, "read": 1, "time": 1,'
               b' "reads": 2, "ramps": 1, "shape": [4, 4], "dtype": "uint16"}'),
        prefix(b'{"exposure": "x", "detector": "IMG1", "ramp": 1, "read": 1, "time": 1,'
               b' "reads": 2, "ramps": 1, "shape": [90000, 90000], "dtype": "uint16"}'),
    ],
    ids=["http", "empty", "nested", "crc", "path", "huge"],
)  # fmt: skip
def test_what_is_no_read_is_refused_and_the_others_go_on(tmp_path, content):
    detector = Link(tmp_path)
    with detector.connected() as link:
        link.sendall(content)
        answer = link.recv(1)

    with detector.connected() as link:
        for one in reads_of(exposure()):
            wire.send(link, one)
    seen = detector.over()

    assert answer == wire.REFUSED
    assert_allclose(seen.frame.data, RATE, rtol=ROUNDING)


def test_nobody_from_elsewhere_can_send_reads_unless_that_is_asked_for():
    with pytest.raises(ConfigurationError, match="other machines would reach this address"):
        source_of("tcp:0.0.0.0:0")

    source = source_of("tcp:0")
    address = source.address
    source.close()
    assert address.startswith("tcp:127.0.0.1:")


def test_a_detector_that_is_not_listened_to_drops_reads_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(playing, "AHEAD", 2)
    monkeypatch.setattr(playing, "PATIENCE", 0.05)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s"))
    server.listen()  # and never answers
    said, played = [], playing.Played()

    link = playing._Link(f"unix:{tmp_path}/s", played, said.append)
    for one in reads_of(exposure()):
        link.put(one, block=False)
    server.close()
    with pytest.raises(ConfigurationError, match="nobody takes the reads"):
        link.close()

    assert [index for _, index in played.dropped] == [3, 4, 5, 6, 7]
    assert "read 4 is dropped: 3 before it were not taken" in said[0]


def test_an_exposure_of_the_spectrograph_becomes_a_cube(tmp_path):
    from lightmill.observatories.tmt.iris.simulate_ifs import LENSLET, observe_ifs

    made, cache = observe_ifs(tmp_path / "raw", LENSLET, seed=1, reads=4)
    with fits.open(made.uncal) as file:
        cards, counts = dict(file[0].header), file["SCI"].data
    skipped = {"SIMPLE", "BITPIX", "NAXIS", "EXTEND"}
    one = Exposure("f1", "IFU", 4, 1, counts.shape[-2:], "uint16",
                   {name: value for name, value in cards.items() if name not in skipped})  # fmt: skip
    reads = [Read(one, 1, n, 5.0 * n, counts[0, n - 1]) for n in range(1, 5)]

    report = Watch(Settings(tmp_path, crds_path=cache.root, patience=0.3)).run(Given(reads))

    assert [path.name for path in report.written] == ["f1_rop.fits", "f1_s3d.fits"]
    cube = models.open(report.written[1])
    assert cube.data.shape[1:] == (10, 10)
    with fits.open(made.truth) as file:
        star, step = file["STAR"].data, np.median(np.diff(cube.wavelength))
    free = cube.wavelength < 2.128  # before the first line of the sky
    spectrum = np.nanmean(cube.data[free], axis=0) - star * step
    known = np.sqrt(np.nansum(cube.err[free] ** 2, axis=0)) / free.sum()
    pull = (spectrum / known)[np.isfinite(spectrum)]
    assert abs(pull.mean()) < 0.5  # 100 elements: 0.1; hits of cosmic rays are not looked for live
    assert abs(np.median(pull)) < 0.5


# -- little time ---------------------------------------------------------------------------------


@pytest.mark.parametrize("is_pressed", [True, False])
def test_looks_are_fewer_while_exposures_wait_to_be_reduced(tmp_path, monkeypatch, is_pressed):
    done = []
    monkeypatch.setattr(Watch, "is_pressed", is_pressed)
    monkeypatch.setattr(Watch, "finished", lambda _, one: done.append(one))
    watch = Watch(Settings(tmp_path))
    station = Station("IMG1", watch, patience=1.0)

    for read in reads_of(exposure(reads=10)):
        station._work(Read(read.exposure, 1, read.number, read.time, read.pixels, came=np.inf))

    looks = [index for _, index, _, _ in watch.report.looks]
    assert looks == ([0, SELDOM, 2 * SELDOM, 9] if is_pressed else list(range(10)))
    assert_allclose(done[0].frame.signal, RATE, rtol=ROUNDING)  # no read is left out

"""Images that change while they are looked at: a page sees what there is now, and is told of it."""

import json
import threading

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lightmill.models import CalModel
from lightmill.viewing.live import LiveImage, LiveViewer, NowArray

SHAPE = (300, 260)


@pytest.fixture
def held():
    """What is shown, in a list that is written to."""
    return [np.zeros(SHAPE, np.float32)]


@pytest.fixture
def image(held):
    return LiveImage(
        "d live", [("SCI", "values", NowArray(lambda: held[0]), "DN")], threading.RLock()
    )


@pytest.fixture
def viewer(image):
    made = LiveViewer(last=2)
    made.watch(image, "d")
    return made


def asked(viewer, question, **numbers):
    kind, content = viewer.answer(question, {name: [float(n)] for name, n in numbers.items()})
    return json.loads(content) if kind.endswith("json") else np.frombuffer(content, "<f4")


def news(viewer, since=-1):
    return asked(viewer, "news", since=since)


def test_a_tile_and_the_limits_are_those_of_now(viewer, image, held):
    where = {"file": 0, "layer": 0, "plane": 0}
    before = asked(viewer, "summary", **where)["max"]
    held[0] = np.full(SHAPE, 7, np.float32)
    viewer.changed(image, "it is seven", "well")

    assert before == 0
    assert asked(viewer, "summary", **where)["max"] == 7
    assert_array_equal(asked(viewer, "tile", **where, bin=1, tx=1, ty=1), np.full(44 * 4, 7))
    assert news(viewer)["files"][0]["title"] == "it is seven"


def test_who_asks_for_news_is_answered_when_there_are_some(viewer, image):
    since, answers = news(viewer)["news"]["version"], []
    waiting = threading.Thread(target=lambda: answers.append(news(viewer, since)))
    waiting.start()

    viewer.changed(image, "anew", "well")
    waiting.join(10)

    assert answers[0]["news"]["version"] > since
    assert answers[0]["news"]["states"] == {"d": "well"}


def test_the_last_files_are_kept_the_newest_first_after_what_is_live(viewer, tmp_path):
    for name in "abc":
        viewer.add(
            CalModel(data=np.zeros(SHAPE, np.float32)).save(tmp_path / f"{name}_cal.fits"), "d"
        )

    files = news(viewer)["files"]

    assert [one["name"] for one in files] == ["d live", "c_cal.fits", "b_cal.fits"]
    assert [one["live"] for one in files] == [True, False, False]


def test_there_is_something_to_look_at_before_anything_comes():
    assert [one["name"] for one in news(LiveViewer())["files"]] == ["waiting for the first read"]


def test_messages_reach_the_page(viewer):
    viewer.tell("read 4 is not in the frame")

    assert news(viewer)["news"]["told"] == ["read 4 is not in the frame"]


def test_a_cut_is_the_row_and_the_column_of_a_pixel(viewer, held):
    held[0] = np.arange(SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)

    cut = asked(viewer, "cut", file=0, layer=0, plane=0, x=11, y=22)

    assert_array_equal(cut[: SHAPE[1]], held[0][22])
    assert_array_equal(cut[SHAPE[1] :], held[0][:, 11])


@pytest.mark.parametrize("place", [{"x": -1, "y": 0}, {"x": 0, "y": 300}, {"x": 0.5, "y": 0}])
def test_a_cut_outside_the_image_is_refused(viewer, place):
    with pytest.raises(IndexError):
        asked(viewer, "cut", file=0, layer=0, plane=0, **place)

"""A service that turns for months frees what only the collector of garbage can free."""

import gc
import weakref

import pytest

from lightmill.workflow import service as module
from lightmill.workflow.service import Service


class Circle:
    """Something that holds itself."""

    def __init__(self):
        self.itself = self


@pytest.mark.parametrize(("every", "is_kept"), [(0.0, False), (1e9, True)])
def test_circles_are_freed_every_few_minutes(store, tmp_path, monkeypatch, every, is_kept):
    monkeypatch.setattr(module, "TIDY", every)
    service = Service(tmp_path, store, None, None)
    turns = iter([False, False, True])
    gc.collect()
    gc.disable()
    try:
        circle = weakref.ref(Circle())

        service.run(pause=0.0, is_over=lambda: next(turns))

        assert (circle() is not None) is is_kept
    finally:
        gc.enable()

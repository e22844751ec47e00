"""Progress: a bar on a terminal, whole lines now and then in a log."""

import io
import logging
import sys

import pytest

from chemsieve.runtime import processes
from chemsieve.runtime.processes import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [0.0]
    monkeypatch.setattr(processes.time, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("items", "lines"),
    [
        (range(10), ["scores: 3 of 10 (30%), about 70 s left", "scores: 6 of 10 (60%), about 40 s left",
                     "scores: 9 of 10 (90%), about 10 s left"]),
        (iter(range(10)), ["scores: 3", "scores: 6", "scores: 9"]),
    ],
    ids=["a known number", "an unknown number"],
)  # fmt: skip
def test_a_log_gets_a_line_every_half_minute(monkeypatch, caplog, clock, items, lines):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    caplog.set_level(logging.INFO)
    seen = []
    for item in progress(items, "scores"):
        seen.append(item)
        clock[0] += 10.0  # seconds that each takes
    assert seen == list(range(10))
    assert [record.getMessage() for record in caplog.records] == lines
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar(monkeypatch, caplog):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    caplog.set_level(logging.INFO)
    assert list(progress(range(10), "scores")) == list(range(10))
    assert "scores:   0%" in stream.getvalue()
    assert caplog.records == []

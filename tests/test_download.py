"""Downloads: pinned by content, refused where it differs, cached where it fits. No test here touches the network."""

import hashlib
import http.client
import io
import urllib.error
import urllib.request

import pandas as pd
import pytest

from chemsieve.data import download
from chemsieve.data.download import check_content, content_sha256, fetch
from chemsieve.errors import ChemsieveError
from chemsieve.runtime.files import cache_folder

SMILES, LABELS = ["CCO", "c1ccccc1"], ["-0.3", "2.125"]
EXPECTED = hashlib.sha256(b"CCO,-0.30\nc1ccccc1,2.12").hexdigest()
FIRST = {"url": "https://one.example/a.csv", "smiles": "smiles", "label": "exp"}
SECOND = {"url": "https://two.example/b.csv", "smiles": "SMILES", "label": "y"}
GOOD = {
    FIRST["url"]: b"id,exp,smiles\n1,-0.3,CCO\n2,2.125,c1ccccc1\n",
    SECOND["url"]: b"SMILES,y\nCCO,-0.30\nc1ccccc1,2.12\n",
}


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A web that answers as its dictionary says, and remembers what was asked; the cache is empty."""
    answers, asked = dict(GOOD), []

    def urlopen(url, timeout):
        asked.append(url)
        answer = answers[url]
        if isinstance(answer, Exception):
            raise answer
        return io.BytesIO(answer)

    monkeypatch.setenv("CHEMSIEVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return answers, asked


def cached() -> list:
    return sorted(cache_folder().iterdir()) if cache_folder().exists() else []


# -- content -----------------------------------------------------------------------------------------------------------


def test_content_hash_is_that_of_the_lines():
    assert content_sha256(SMILES, LABELS) == EXPECTED
    assert content_sha256(SMILES, ["-0.30000", "2.12"]) == EXPECTED, "however the numbers are written"
    assert content_sha256(SMILES[::-1], LABELS[::-1]) != EXPECTED, "rows have an order"
    assert content_sha256(SMILES, ["-0.3", "2.13"]) != EXPECTED
    with pytest.raises(ValueError, match="shorter"):
        content_sha256(SMILES, LABELS[:1])


def test_content_of_a_table_is_checked():
    table = pd.DataFrame({"smiles": SMILES, "label_text": LABELS})
    check_content(table, EXPECTED, "own.csv")
    with pytest.raises(ChemsieveError) as caught:
        check_content(table.iloc[::-1], EXPECTED, "own.csv")
    said = str(caught.value)
    assert said.startswith("own.csv: its content has sha256 ")
    assert EXPECTED in said
    assert "target.content_sha256" in said
    with pytest.raises(ChemsieveError, match=r"own\.csv.*'high'"):
        check_content(table.assign(label_text=["high", "1"]), EXPECTED, "own.csv")


# -- fetching ----------------------------------------------------------------------------------------------------------


def test_the_first_source_with_the_expected_content_is_taken_and_cached(web):
    _, asked = web
    table = fetch([FIRST, SECOND], EXPECTED)
    assert list(table.columns) == ["smiles", "label"]
    assert table["smiles"].tolist() == SMILES
    assert table["label"].tolist() == LABELS, "labels as the file has them"
    assert asked == [FIRST["url"]]
    assert [path.read_bytes() for path in cached()] == [GOOD[FIRST["url"]]]


def test_a_second_call_reads_the_cache(web):
    answers, asked = web
    first = fetch([FIRST], EXPECTED)
    answers[FIRST["url"]] = urllib.error.URLError("no network")
    pd.testing.assert_frame_equal(fetch([FIRST], EXPECTED), first)
    assert asked == [FIRST["url"]]


def test_a_cached_source_comes_before_an_earlier_one_that_is_not(web):
    _, asked = web
    fetch([SECOND], EXPECTED)
    assert fetch([FIRST, SECOND], EXPECTED)["label"].tolist() == ["-0.30", "2.12"]
    assert asked == [SECOND["url"]]


FAULTS = {
    "other content": b"id,exp,smiles\n1,9.9,CCO\n2,2.125,c1ccccc1\n",
    "another column": b"id,expt,smiles\n1,-0.3,CCO\n",
    "no number": b"id,exp,smiles\n1,high,CCO\n",
    "a page": b"<html>Service, unavailable</html>",
    "nothing": b"",
    "not text": b"\xff\xfe\x00",
    "no answer": urllib.error.URLError("name not known"),
    "an error": urllib.error.HTTPError(FIRST["url"], 503, "Unavailable", {}, None),
    "cut short": http.client.IncompleteRead(b"id,exp"),
    "no http": http.client.BadStatusLine("?"),
    "too slow": TimeoutError("timed out"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_source_that_fails_the_next_is_tried_and_the_failure_is_not_cached(web, fault):
    answers, asked = web
    answers[FIRST["url"]] = FAULTS[fault]
    assert fetch([FIRST, SECOND], EXPECTED)["smiles"].tolist() == SMILES
    assert asked == [FIRST["url"], SECOND["url"]]
    assert [path.read_bytes() for path in cached()] == [GOOD[SECOND["url"]]]


@pytest.mark.parametrize("fault", FAULTS)
def test_where_no_source_fits_one_sentence_names_them_all(web, fault):
    answers, _ = web
    answers[FIRST["url"]] = answers[SECOND["url"]] = FAULTS[fault]
    with pytest.raises(ChemsieveError) as caught:
        fetch([FIRST, SECOND], EXPECTED)
    said = str(caught.value)
    assert said.startswith("target.downloads: no source gave the data")
    assert FIRST["url"] in said
    assert SECOND["url"] in said
    assert "target.path" in said, "what to do instead"
    assert cached() == []


def test_without_an_expected_hash_what_comes_is_taken(web):
    answers, _ = web
    answers[FIRST["url"]] = FAULTS["other content"]
    assert fetch([FIRST], None)["label"].tolist() == ["9.9", "2.125"]


@pytest.mark.usefixtures("web")
def test_a_cached_file_that_no_longer_fits_is_dropped():
    fetch([FIRST], EXPECTED)
    cached()[0].write_bytes(FAULTS["other content"])
    assert fetch([FIRST, SECOND], EXPECTED)["smiles"].tolist() == SMILES
    assert [path.read_bytes() in GOOD.values() for path in cached()] == [True]


def test_smiles_that_look_like_missing_values_stay_as_they_are(web):
    answers, _ = web
    answers[FIRST["url"]] = b"id,exp,smiles\n1,1.0,NA\n2,1.0,N\n"
    assert fetch([FIRST], None)["smiles"].tolist() == ["NA", "N"]


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.delenv("CHEMSIEVE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "chemsieve"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "chemsieve"
    monkeypatch.setenv("CHEMSIEVE_CACHE", str(tmp_path / "given"))
    assert cache_folder() == tmp_path / "given"
    assert download._cached("https://a").parent == tmp_path / "given"
    assert download._cached("https://a") != download._cached("https://b")


def test_a_cached_file_that_no_longer_fits_is_fetched_afresh(web):
    _, asked = web
    fetch([FIRST], EXPECTED)
    cached()[0].write_bytes(FAULTS["other content"])
    assert fetch([FIRST], EXPECTED)["smiles"].tolist() == SMILES
    assert asked == [FIRST["url"]] * 2

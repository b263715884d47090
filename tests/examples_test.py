"""The examples, run on real input that Debian packages ship."""

import collections
import http.client
import json
import pathlib
import re
import struct
import subprocess

import pytest
import support

EXAMPLES = support.ROOT / "examples"
PICTURE = pathlib.Path("/usr/share/icons/hicolor/256x256/apps/display-im6.q16.png")  # imagemagick-6.q16
TEXT = pathlib.Path("/usr/share/common-licenses/GPL-3")  # base-files
COUNTRIES = pathlib.Path("/usr/share/iso-codes/json/iso_3166-1.json")  # iso-codes


@pytest.fixture(scope="module")
def example(request):
    with support.running(EXAMPLES / request.param) as kaon:
        yield kaon


def of(name):
    return pytest.mark.parametrize("example", [name], indirect=True)


def post(kaon, body, path="/"):
    connection = http.client.HTTPConnection("127.0.0.1", kaon.port, timeout=30)
    try:
        connection.request("POST", path, body)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def jpeg_size(data):
    """(width, height) from the frame header of a JPEG file."""
    assert data[:2] == b"\xff\xd8" and data[-2:] == b"\xff\xd9"
    at = 2
    while True:
        marker, length = struct.unpack(">xBH", data[at : at + 4])
        if 0xC0 <= marker <= 0xC2:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + length


def test_every_example_has_a_file_a_description_and_a_test():
    tested = set(re.findall(r'@of\("(.*?)"\)', pathlib.Path(__file__).read_text()))
    for folder in sorted(each for each in EXAMPLES.iterdir() if each.is_dir()):
        assert folder.name in tested
        assert "README.md" in {each.name for each in folder.iterdir()}
        lint = subprocess.run([support.KAON, "lint", folder], capture_output=True, text=True, timeout=30)
        assert lint.returncode == 0, lint.stdout + lint.stderr


@of("hello")
def test_hello(example):
    response, body = post(example, b"kaon")
    assert response.status == 200
    assert re.fullmatch(rb"Hello, kaon! This is event \S+\.\n", body)
    assert post(example, b"")[1].startswith(b"Hello, world!")


@of("thumbnail")
def test_thumbnail_of_a_picture(example):
    response, body = post(example, PICTURE.read_bytes())
    assert response.status == 200, example.output()
    assert response.getheader("Content-Type") == "image/jpeg"
    assert jpeg_size(body) == (200, 200)


@of("thumbnail")
def test_thumbnail_keeps_proportions_and_never_enlarges(example):
    wide = subprocess.run(["convert", PICTURE, "-resize", "800x100!", "png:-"], capture_output=True, check=True, timeout=30).stdout
    assert jpeg_size(post(example, wide)[1]) == (200, 25)
    small = subprocess.run(["convert", PICTURE, "-resize", "40x30!", "png:-"], capture_output=True, check=True, timeout=30).stdout
    assert jpeg_size(post(example, small)[1]) == (40, 30)


@of("thumbnail")
def test_thumbnail_of_no_picture_is_an_error(example):
    response, body = post(example, b"this is no picture")
    assert response.status >= 400
    assert b"\xff\xd8" not in body
    assert "convert" in example.output()


@of("top-words")
def test_top_words_of_a_licence(example):
    text = TEXT.read_text(encoding="ascii", errors="replace")
    counts = collections.Counter(word.lower() for word in re.findall("[A-Za-z]+", text))
    expected = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    response, body = post(example, TEXT.read_bytes())
    assert response.status == 200, example.output()
    assert response.getheader("Content-Type").startswith("text/plain")
    assert body.decode().splitlines() == [f"{count} {word}" for word, count in expected[:10]]
    assert body.decode().splitlines()[0] == f"{counts['the']} the"
    assert len(post(example, TEXT.read_bytes(), "/?count=3")[1].splitlines()) == 3


@of("top-words")
@pytest.mark.parametrize("count", ["many", "-5", "3;id", "$(id)", "99999"])
def test_top_words_refuses_a_count_that_is_none(example, count):
    response, body = post(example, b"a b c", f"/?count={count}")
    assert 400 <= response.status < 500
    assert b"uid=" not in body


@of("json-enrich")
def test_json_enrich_of_a_large_object(example):
    original = COUNTRIES.read_bytes()
    response, body = post(example, original, "/countries")
    assert response.status == 200, example.output()
    assert response.getheader("Content-Type") == "application/json"
    given, enriched = json.loads(original), json.loads(body)
    added = enriched.pop("kaon")
    assert enriched == given
    members = 1 + sum(len(country) for country in given["3166-1"])
    assert added.pop("id") and added.pop("time").endswith("Z")
    assert added == {"path": "/countries", "bytes": len(original), "members": members, "values": members - 1, "depth": 4}


@of("json-enrich")
@pytest.mark.parametrize("body", [b"{}", b' {\n} ', b'{"a":{}}', '{"é":"\\u00e9"}'.encode(), b'{"n":[-0.5e+3,0,1E9]}'])
def test_json_enrich_of_small_objects(example, body):
    response, answer = post(example, body)
    assert response.status == 200, answer
    enriched = json.loads(answer)
    assert enriched.pop("kaon")["bytes"] == len(body)
    assert enriched == json.loads(body)


@of("json-enrich")
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a"}', b'{"a":1,}', b'{"a":01}', b'{"a":"\n"}', b'{"a":"\\x"}', b"{} x", b'{"a":1}}',
                                  b'{"a":' * 200 + b"1" + b"}" * 200])
def test_json_enrich_refuses_what_is_no_object(example, body):
    response, answer = post(example, body)
    assert response.status == 400, answer

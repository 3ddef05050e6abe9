"""What is kept of a body that could not be mapped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handletime.deliveries.texts import NOT_KEPT, Variant, not_kept, variants, varied, without_texts
from handletime.sources.chatwoot.webhook import Options, events_of

SAMPLES = sorted((Path(__file__).parents[1] / "sources" / "chatwoot").glob("[0-8]*.json"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_chatwoots_deliveries_can_be_mapped_without_their_texts(path: Path) -> None:
    body = path.read_bytes()
    assert events_of(without_texts(body), Options()) == events_of(body, Options())


def kept(body: bytes) -> object:
    """What is kept, with null in place of what is not, and "" in place of such keys."""

    def shown(value: object) -> object:
        if isinstance(value, dict):
            return {key.replace(NOT_KEPT, ""): shown(below) for key, below in value.items()}
        return [shown(each) for each in value] if isinstance(value, list) else None if value == NOT_KEPT else value

    return shown(json.loads(body))


def test_there_are_samples() -> None:
    assert len(SAMPLES) == 27


def test_texts_and_names_go_ids_and_times_stay() -> None:
    body = {
        "id": "abc-12",
        "content": "hello",
        "sender": {"name": "Made Up", "email": "made@up.example", "id": 7, "phone_number": 49123456, "type": "user"},
        "created_at": "2026-11-20T09:00:00.000Z",
        "contact_id": "made@up.example",
        "external_id": "+49 170 1234567",
        "note": "call me",
        "made up key": 1,
        "state": {"current_value": "open", "previous_value": None},
        "list": ["x", 1, True],
        "status": "a status that is a whole sentence, with commas",
    }
    assert kept(without_texts(json.dumps(body).encode())) == {
        "id": "abc-12",
        "content": None,
        "sender": {"name": None, "email": None, "id": 7, "phone_number": None, "type": "user"},
        "created_at": "2026-11-20T09:00:00.000Z",
        "contact_id": None,
        "external_id": None,
        "note": None,
        "": 1,
        "state": {"current_value": "open", "previous_value": None},
        "list": [None, 1, True],
        "status": None,
    }


def test_what_may_be_kept_besides() -> None:
    body = b'{"code":"a long text","other":"a long text"}'
    assert without_texts(body, ["code"]) == b'{"code":"a long text","other":"%b"}' % NOT_KEPT.encode()


def test_nothing_stays_below_what_is_personal() -> None:
    body = b"""{"contact_inbox":{"id":3,"source_id":"491701234567","hmac_verified":false},"name":{"id":"Made Up"},
        "phones":[],"phone_number":[{"type":"work","id":491701234567}],"address":{"state":"Bavaria","code":"kept"}}"""
    assert kept(without_texts(body, ["code"])) == {
        "contact_inbox": {"id": None, "source_id": None, "hmac_verified": False},
        "name": {"id": None},
        "phones": [],
        "phone_number": [{"type": None, "id": None}],
        "address": {"state": None, "code": "kept"},
    }


@pytest.mark.parametrize(
    "text", ["whatsapp:+491701234567", "sms:+49 170 1234567", "tel +49(170)1234567", "0049 170 12"]
)
def test_no_phone_number_is_kept_within_an_id(text: str) -> None:
    assert kept(without_texts(json.dumps({"id": text}).encode())) == {"id": None}


@pytest.mark.parametrize(
    "text",
    ["2026-11-20T09:00:00+01:00", "2026-11-20 00:00:00 +0100", "5f0e9c1a-0012-4a5b-9f00-001234567890", "ab+1234567"],
)
def test_what_only_looks_like_a_phone_number_is_kept(text: str) -> None:
    assert kept(without_texts(json.dumps({"id": text}).encode())) == {"id": text}


@pytest.mark.parametrize("text", ["in progress", "open", "2026-11-20 10:00:00 CET", "20.11.2026 10:00"])
def test_states_of_a_word_or_two_and_times_are_kept(text: str) -> None:
    assert kept(without_texts(json.dumps({"status": text}).encode())) == {"status": text}


@pytest.mark.parametrize("text", ["call me back", "x" * 65, "a  b", "ends with a line\n", "open\n", "Street 7"])
def test_no_sentence_is_kept_as_a_state(text: str) -> None:
    assert kept(without_texts(json.dumps({"status": text}).encode())) == {"status": None}


@pytest.mark.parametrize("key", ["created", "group", "source", "user_id", "closer", "queue"])
def test_no_two_words_are_kept_as_anything_else(key: str) -> None:
    assert kept(without_texts(json.dumps({key: "Made Up"}).encode())) == {key: None}


@pytest.mark.parametrize("text", ["01705550199", "0049170555", "192.0.2.7"])
def test_no_number_of_somebody_is_kept_as_a_word(text: str) -> None:
    assert kept(without_texts(json.dumps({"status": text}).encode())) == {"status": None}


def test_large_numbers_are_kept_where_ids_and_times_are() -> None:
    body = b'{"from":491705550199,"n":99999999,"user_id":491705550199,"startTimeL":1795600800000,"took_ms":999999999}'
    assert kept(without_texts(body)) == json.loads(body) | {"from": None}


@pytest.mark.parametrize("key", ["wa_id", "msisdn", "whatsapp_id", "phoneNumber", "telephone", "firstname", "callerId"])
def test_no_number_of_a_person_is_kept(key: str) -> None:
    assert kept(without_texts(json.dumps({key: "491701234567"}).encode())) == {key: None}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'" "' * (1 << 21),
        b"[" * 60 + b"1" + b"]" * 60,
        b'{"id":1,"id":2}',
        b'[{"a":{"b":1,"c":2,"b":1}}]',
        b"NaN",
        b'{"id":1e999}',
        b'{"id":' + b"9" * 5000 + b"}",
    ],
    ids=range(11),
)
def test_of_what_is_no_json_nothing_is_kept(body: bytes) -> None:
    assert without_texts(body) == b""


WORDS = st.text(st.characters(codec="utf-8"), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
)


@given(JSON)
def test_no_address_is_ever_kept(value: object) -> None:
    kept = without_texts(json.dumps({"id": "x@y", "value": value}).encode())
    assert b"@" not in kept


def test_what_is_not_kept_is_known() -> None:
    assert not_kept(without_texts(b'{"id":1,"what":"some words","with":[{"name":"made up"}],"at":null}')) == {
        "what",
        "name",
    }
    assert not_kept(without_texts(b'{"id":1,"made up":2}')) == {NOT_KEPT}
    assert not_kept(b'{"what":"some words"}') == set()


def test_a_kept_body_is_given_other_content() -> None:
    body = without_texts(b'{"id":1,"made up":[2,"words","more"],"below":{"id":"x"}}')
    made = varied(body, Variant(['x"\\ä', 7], ["added"]))
    assert list(json.loads(made).values()) == [1, [2, 7, 'x"\\ä'], {"id": "x"}, "added"]
    assert varied(b'{"id":1}', Variant(["x"], ["added"])) == b'{"id":1}'
    assert varied(b'{"id":1,"a":2}', Variant([], spaced=True)) == b'{"id": 1, "a": 2}'


@given(st.frozensets(WORDS))
def test_other_content_is_the_same_each_time_and_has_all_that_is_known(known: frozenset[str]) -> None:
    made = variants(known)
    assert made == variants(known)
    assert any(known <= {*variant.added} for variant in made)


def test_empty_texts_stay_and_what_stands_in_the_mapping() -> None:
    body = b'{"a":"","name":"","what":"closed","x":"open","with spaces":"x","name_of":"closed"}'
    assert kept(without_texts(body, known=["closed", "with spaces"])) == {
        "a": "",
        "name": "",
        "what": "closed",
        "x": None,
        "with spaces": None,
        "name_of": None,
    }


def test_what_keep_names_stays_whatever_it_is_called() -> None:
    body = b'{"state":{"current_value":"some words, more","value":"words, more"}}'
    assert json.loads(without_texts(body, ["value"]))["state"]["value"] == "words, more"
    assert without_texts(body, ["state"]) == body


def test_large_numbers_stay_as_they_are() -> None:
    assert without_texts(b'{"id":12345678901234567890123,"n":1.5,"x":"y"}').startswith(
        b'{"id":12345678901234567890123,"n":1.5,"x":'
    )


def test_a_body_of_which_all_is_kept_stays_as_it_was_written() -> None:
    body = b'{ "id" : "a\\u0062", "status":"open" }'
    assert without_texts(body) == body
    assert without_texts(b'{"id":1,"more":[' + b"1," * (1 << 20) + b"1]}") == b""


def test_a_large_body_may_be_small_without_its_texts() -> None:
    body = json.dumps({"id": 1, "text": "words " * (1 << 20)}).encode()
    assert json.loads(without_texts(body))["id"] == 1
    assert without_texts(json.dumps({"id": 1, "text": "words " * (3 << 20)}).encode()) == b""

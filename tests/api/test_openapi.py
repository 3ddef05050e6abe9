"""What the methods say of themselves.

Covers: api/examples.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from handletime.api.app import ROUTES
from handletime.api.csv_table import TYPE as CSV
from handletime.api.errors import JSON
from handletime.api.examples import FILE, examples
from handletime.api.openapi import METHODS, document
from handletime.api.service import ApiSettings
from handletime.segments import rules
from handletime.segments.explain import Clause, NotHandled
from tests.api.make_examples import ACCOUNT, filled, livepersons_agents, made, text_of, waiting
from tests.api.world import World
from tests.messy_streams import messy_stream

UNLISTED = {"/openapi.json", "/docs", "/docs/style.css"}


def test_every_route_is_described_and_nothing_else() -> None:
    named = {re.sub(r"\{(\w+):str\}", r"{}", path) for route in ROUTES for path in route.paths}
    described = {re.sub(r"\{\w+\}", "{}", method.path) for method in METHODS}
    assert named - UNLISTED == described


def test_the_document_is_served_and_every_reference_in_it_leads_somewhere(world: World) -> None:
    served = world.client.get("/openapi.json")
    assert served.headers["content-type"] == "application/json"
    assert served.json()["openapi"].startswith("3.1")
    text = served.text
    references = re.findall(r'"#/components/(\w+)/([^"]+)"', text)
    assert {kind for kind, _ in references} == {"schemas", "headers"}
    for kind, name in references:
        assert name in served.json()["components"][kind]


def test_operations_have_names_of_their_own_and_describe_every_error() -> None:
    operations = [operation for path in document()["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for operation in operations:
        assert {"200", "405", "500"} <= set(operation["responses"])
        names = [(p["in"], p["name"].lower()) for p in operation["parameters"]]
        assert len(set(names)) == len(names)
        for parameter in operation["parameters"]:
            assert parameter["schema"]


def test_the_document_is_valid_openapi() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(document()).iter_errors()] == []


def schemas_in(part: object) -> Iterator[dict[str, Any]]:
    """Everything in the document that has a default."""
    for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        if isinstance(value, dict) and "default" in value:
            yield value
        yield from schemas_in(value)


def validated(schema: dict[str, Any], value: object) -> bool:
    components = document()["components"]
    return jsonschema_rs.Draft202012Validator({**schema, "components": components}).is_valid(value)


def test_defaults_are_what_their_schemas_say() -> None:
    with_default = list(schemas_in(document()))
    assert len(with_default) > 20
    assert [schema for schema in with_default if not validated(schema, schema["default"])] == []


def test_examples_are_what_the_schemas_say() -> None:
    described = document()
    checked = 0
    for path in described["paths"].values():
        for operation in path.values():
            examples = [(p["schema"], p["example"]) for p in operation["parameters"] if "example" in p]
            bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
            contents = [content for body in bodies for content in body.get("content", {}).values()]
            examples += [(content["schema"], content["example"]) for content in contents if "example" in content]
            for schema, example in examples:
                jsonschema_rs.Draft202012Validator({**schema, "components": described["components"]}).validate(example)
                checked += 1
    assert checked > 30


DELIVERIES = ("deliver", "deliverPurpose")
"""Methods without an example: they need a source of the server's settings (test_sources.py)."""


def test_every_method_that_answers_in_json_has_an_example_of_all_that_it_needs() -> None:
    for method in METHODS:
        if method.id in DELIVERIES:
            continue
        operation = document()["paths"][method.path][method.verb]
        content = operation["responses"]["200"]["content"]
        assert ("example" in content.get(JSON, {})) == (JSON in method.answers), method.id
        if JSON not in method.answers:
            continue
        needed = [p["name"] for p in operation["parameters"] if p["required"]]
        assert [p["name"] for p in operation["parameters"] if p["required"] and "example" in p] == needed


def test_the_examples_are_what_a_server_answers(tmp_path: Path) -> None:
    assert FILE.read_text() == text_of(made(tmp_path)), "The answers have changed: run `make examples`."


def empty(part: object) -> bool:
    """Whether something in a JSON value is an empty list or object."""
    if isinstance(part, dict | list):
        inner = part.values() if isinstance(part, dict) else part
        return not part or any(map(empty, inner))
    return False


def test_whoever_sends_an_example_request_gets_its_answer_and_it_says_something() -> None:
    with World(ApiSettings(public_url="https://reports.example.com")) as world:
        world.store.put(ACCOUNT, [*livepersons_agents(), *waiting()])
        paths = document()["paths"]
        methods = [method for method in METHODS if JSON in method.answers and method.id not in DELIVERIES]
        for method in sorted(methods, key=lambda method: method.verb == "get"):  # events come first
            operation = paths[method.path][method.verb]
            given = {p["name"]: p["example"] for p in operation["parameters"] if "example" in p}
            address = filled(method.path, given)
            if method.verb == "post":
                body = json.dumps(operation["requestBody"]["content"][JSON]["example"]).encode()
                account = f"{ACCOUNT}@12" if method.id == "focus" else ACCOUNT
                answer = world.post(address, body, account, Content_Type=JSON)
            else:
                answer = world.get(address, Accept=JSON)
            assert answer.status_code == 200, (address, answer.text)
            assert answer.json() == operation["responses"]["200"]["content"][JSON]["example"], address
            assert not empty(answer.json()), address
            if CSV in method.answers:
                posts = method.verb == "post"
                as_table = world.post(address, body, Accept=CSV) if posts else world.get(address, Accept=CSV)
                table = as_table.text
                assert table == operation["responses"]["200"]["content"][CSV]["example"]
                assert len(table.splitlines()) > 2


LISTS = {
    ("SegmentShown", "endReason"): rules.END_REASONS,
    ("Unit", "startReason"): rules.UNIT_STARTS,
    ("Unit", "endReason"): rules.UNIT_ENDS,
    ("Reference", "rel"): ("self", "next", "previous", "last", "first"),
    ("Moment", "handledUnder"): (*get_args(Clause), None),
    ("Moment", "notHandledBecause"): (*get_args(NotHandled), None),
    ("Moment", "noEffect"): (*rules.EFFECTS[1:], None),
}


@pytest.mark.parametrize(("schema", "field"), LISTS)
def test_closed_lists_are_typed_as_such(schema: str, field: str) -> None:
    described = document()["components"]["schemas"][schema]["properties"][field]
    described = next((each for each in described.get("anyOf", []) if "enum" in each), described)
    assert set(described["enum"]) | {None} == {*LISTS[schema, field], None}


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        ("agentSegments", {"endReason": "Agent"}),
        ("breakdownFile", {"sequence": 0}),
        ("breakdownFile", {"startReason": "focused"}),
        ("breakdownFile", {"endReason": "unfocused"}),
        ("breakdownFile", {"handleTimeMillis": 0}),
    ],
)
def test_an_impossible_answer_does_not_fit_its_schema(method: str, wrong: dict[str, Any]) -> None:
    answer = examples()[method].answer
    row = (answer if isinstance(answer, list) else answer["segments"])[0]
    schema = {"$ref": f"#/components/schemas/{'Unit' if isinstance(answer, list) else 'SegmentShown'}"}
    assert validated(schema, row)
    assert not validated(schema, row | wrong)


@pytest.mark.parametrize("seed", range(3))
def test_every_explanation_fits_its_schema(world: World, account: str, seed: int) -> None:
    events = [{**event, "accountId": account} for event in messy_stream(seed, events=200)]
    world.store.put(account, events)
    schema = {"$ref": "#/components/schemas/Explanation", "components": document()["components"]}
    validator = jsonschema_rs.Draft202012Validator(schema)
    moments = 0
    for conversation in sorted({str(event["conversationId"]) for event in events}):
        answer = world.get(
            filled("/api/account/{a}/conversations/{c}/explain", {"a": account, "c": conversation}), account
        )
        validator.validate(answer.json())
        moments += len(answer.json()["moments"])
    assert moments > 100


@pytest.mark.parametrize("name", ["sort", "userType", "format", "metrics"])
def test_parameters_with_a_closed_list_name_its_values(name: str) -> None:
    found = 0
    for path in document()["paths"].values():
        for operation in path.values():
            for parameter in operation["parameters"]:
                if parameter["name"] == name:
                    schema = parameter["schema"]
                    assert schema.get("enum") or schema["items"]["enum"]
                    found += 1
    assert found > 0


EVENTS: list[dict[str, Any]] = examples()["ingest"].body


@pytest.mark.parametrize("event", [event for event in EVENTS if event["type"] in ("opened", "assigned")])
def test_an_event_of_another_kind_does_not_fit_the_schema(event: dict[str, Any]) -> None:
    described = document()
    schema = {"$ref": "#/components/schemas/Event", "components": described["components"]}
    validator = jsonschema_rs.Draft202012Validator(schema)
    assert validator.is_valid(event)
    for wrong in ({"type": "opend"}, {"eventId": "\n"}, {"skillId": "3"}, {"time": None}, {"sequence": 2**63}):
        assert not validator.is_valid({**event, **wrong})


@pytest.mark.parametrize("status", [400, 401, 403])
def test_errors_have_the_bodies_that_are_described(world: World, status: int) -> None:
    path = "/operations/api/account/acme/msgagentsegments"
    answers = {
        400: world.get(path),
        401: world.client.get(path),
        403: world.client.get(path, headers={"Authorization": "Bearer key-acme-ingest"}),
    }
    described: Any = document()["paths"]["/operations/api/account/{accountId}/msgagentsegments"]["get"]
    reference = described["responses"][str(status)]["content"]["application/json"]["schema"]["$ref"]
    schema = document()["components"]["schemas"][reference.rpartition("/")[2]]
    assert answers[status].status_code == status
    assert set(answers[status].json()) == set(schema["properties"])


def test_the_page_for_people_asks_nobody_else(world: World) -> None:
    page = world.client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "//" not in re.sub(r"<!doctype html>", "", page.text)
    assert "<script" not in page.text
    for method in METHODS:
        assert method.path in page.text
    assert world.client.get("/docs/style.css").headers["content-type"].startswith("text/css")

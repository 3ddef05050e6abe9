"""What the methods say of themselves."""

from __future__ import annotations

import re
from typing import Any

import jsonschema_rs
import pytest

from handletime.api import examples
from handletime.api.app import ROUTES
from handletime.api.openapi import METHODS, document
from tests.api.world import World

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


@pytest.mark.parametrize("event", examples.EVENTS)
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

"""The docs say what the code does: examples decode, links lead somewhere, and no name is missing or left over.

Covers: segments/described.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pytest

from handletime.answers.handled import HANDLE_TIME_IN_INTERVAL
from handletime.answers.registry import (
    AGENT_METRICS,
    METRICS,
    OUR_METRICS,
    PARTS,
    QUEUE_METRICS,
    SKILL_METRICS,
    Metric,
)
from handletime.api.openapi import document
from handletime.events import model
from handletime.events.decode import decode_lines
from handletime.events.model import FIELDS, TYPES
from handletime.segments import rules
from handletime.segments.derive import Quality
from handletime.segments.described import COLUMNS, Meaning
from handletime.segments.described import TABLES as DESCRIBED
from handletime.segments.files import SCHEMAS

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
SOURCE: Final = ROOT / "src" / "handletime"
PAPERS: Final = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
RULES: Final = DOCS / "rules.md"
TABLES: Final = DOCS / "tables.md"

FENCED: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK: Final = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
CODE: Final = re.compile(r"`([^`\n]+)`")

Cells = list[str]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def examples() -> list[tuple[str, str]]:
    """Every block of NDJSON with its place."""
    return [
        (f"{name_of(paper)}:{text.count(chr(10), 0, block.start()) + 1}", block[2])
        for paper in PAPERS
        for text in [paper.read_text()]
        for block in FENCED.finditer(text)
        if block[1] == "ndjson"
    ]


@pytest.mark.parametrize("block", [pytest.param(block, id=place) for place, block in examples()])
def test_every_example_of_events_decodes(block: str) -> None:
    decoded = decode_lines(block.encode(), account="local")
    assert [fault for refused in decoded.refused for fault in refused.faults] == []
    assert decoded.events.num_rows == len(block.splitlines())


def test_there_is_an_example_of_every_type_of_event() -> None:
    lines = [line for place, block in examples() if place.startswith("docs/events.md") for line in block.splitlines()]
    assert {msgspec.json.decode(line)["type"] for line in lines} == set(TYPES)


@pytest.mark.parametrize("paper", PAPERS, ids=name_of)
def test_every_relative_link_leads_to_a_file(paper: Path) -> None:
    targets = [target.partition("#")[0] for target in LINK.findall(FENCED.sub("", paper.read_text()))]
    relative = [target for target in targets if target and ":" not in target]
    assert [target for target in relative if not (paper.parent / target).exists()] == []


@pytest.mark.parametrize("paper", PAPERS, ids=name_of)
def test_every_link_to_a_heading_leads_to_one(paper: Path) -> None:
    links = [target.partition("#") for target in LINK.findall(FENCED.sub("", paper.read_text())) if ":" not in target]
    assert [
        f"{target}#{anchor}"
        for target, sharp, anchor in links
        if sharp and anchor not in anchors((paper.parent / target if target else paper).read_text())
    ] == []


def anchors(text: str) -> set[str]:
    """The headings of a paper as addresses."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


ROOM: Final = re.compile(r"^\| `(\w+)` \|.*\|.*\|$", re.MULTILINE)
MODULE: Final = re.compile(r"`((?:\w+/)+\w+(?:\.py)?)`")


def test_every_room_stands_in_the_architecture() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert set(ROOM.findall(text)) == rooms
    ground = {path.stem for path in SOURCE.glob("[!_]*.py")}
    assert {module for module in ground if f"`{module}`" not in text} == set()


def test_every_module_that_the_architecture_names_is_there() -> None:
    named = {name for name in MODULE.findall((ROOT / "ARCHITECTURE.md").read_text()) if "ROOM" not in name}
    assert len(named) > 20
    folders = (ROOT, SOURCE)
    assert [
        name for name in named if not any((at / f"{name}{end}").exists() for at in folders for end in ("", ".py"))
    ] == []


@pytest.mark.parametrize("paper", PAPERS, ids=name_of)
def test_every_clause_that_is_named_stands_in_the_rules(paper: Path) -> None:
    clauses = set(re.findall(r"^#+ (\d(?:\.\d)?)\b", RULES.read_text(), re.MULTILINE))
    assert {"1", "2.1", "3.3", "4"} <= clauses
    named = set(re.findall(r"\brules(?:\.md)?`? (\d(?:\.\d)?)\b", paper.read_text()))
    in_tables = {row[-1] for row in rows_of(paper.read_text(), "rules")}
    assert (named | in_tables) - clauses == set()


FOLDERS: Final = ("src", "tests", "docs", "bench", "scripts", "packaging", ".ci")
TEXTS: Final = {".py", ".md", ".sh", ".toml", ".yml", ".service", ""}
CITED: Final = re.compile(r"(?<![\w./-])[\w./-]*\w\.md\b")


def texts() -> Iterator[tuple[Path, str]]:
    """What the house wrote: code, scripts and papers."""
    for path in sorted([*ROOT.iterdir(), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]):
        if path.is_file() and path.suffix in TEXTS and not {"vendor", "corpus"} & set(path.parts):
            yield path, path.read_text()


def test_every_paper_that_is_cited_is_there() -> None:
    """Under its path, or by its name alone where it lies in docs/ or beside what cites it."""
    cited = [(path, paper) for path, text in texts() for paper in CITED.findall(text)]
    assert len(cited) > 100
    assert [
        f"{name_of(path)}: {paper}"
        for path, paper in cited
        if not any((place / paper).is_file() for place in (path.parent, ROOT, DOCS))
    ] == []


def test_every_chapter_of_the_http_contract_that_is_cited_is_there() -> None:
    chapters = set(re.findall(r"^#+ (\d(?:\.\d)?)\b", (DOCS / "http-api.md").read_text(), re.MULTILINE))
    cited = {(name_of(path), chapter) for path, text in texts() for chapter in CHAPTER.findall(text)}
    assert len(cited) > 10
    assert [f"{path}: {chapter}" for path, chapter in sorted(cited) if chapter not in chapters] == []


CHAPTER: Final = re.compile(r"\bhttp-api\.md\)? (\d(?:\.\d)?)\b")


def test_every_method_stands_in_the_http_contract() -> None:
    said = (DOCS / "http-api.md").read_text()
    paths = [path for path in document()["paths"] if isinstance(path, str)]
    assert len(paths) > 8
    assert [path for path in paths if path not in said] == []


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", SCHEMAS)
def test_every_column_of_a_table_is_documented_as_it_is(table: str) -> None:
    documented = [(name(row[0]), row[1], bool(row[4])) for row in rows_of(section(table), "rules")]
    assert documented == [(field.name, type_of(field.type), field.nullable) for field in SCHEMAS[table]]


@pytest.mark.parametrize("table", SCHEMAS)
def test_every_column_means_the_same_in_the_docs_and_in_an_export(table: str) -> None:
    text = section(table)
    documented = {name(row[0]): Meaning(row[3], row[4]) for row in rows_of(text, "rules")}
    assert documented == COLUMNS[table]
    assert text.strip().startswith(f"{DESCRIBED[table].removesuffix(')')}")


def test_every_column_of_an_export_is_described() -> None:
    schemas = {"events": model.EVENTS, **SCHEMAS}
    assert {table: set(columns) for table, columns in COLUMNS.items()} == {
        table: set(schema.names) for table, schema in schemas.items()
    }
    assert list(DESCRIBED) == list(schemas)


def type_of(type_: pa.DataType) -> str:
    """What docs/tables.md calls a type."""
    if pa.types.is_dictionary(type_):
        return "choice" if type_.index_type == pa.int8() else "string"
    if pa.types.is_timestamp(type_):
        return "timestamp"
    return f"list&lt;{type_of(type_.value_type)}&gt;" if pa.types.is_list(type_) else str(type_)


@pytest.mark.parametrize("table", SCHEMAS)
def test_every_choice_of_a_column_is_documented(table: str) -> None:
    documented = {name(row[0]): set(CODE.findall(row[3])) for row in rows_of(section(table), "rules")}
    choices = closed_lists(table)
    assert {column: documented[column] for column in choices} == choices


def closed_lists(table: str) -> dict[str, set[str]]:
    """The choices of each column of a table; a skill segment ends in fewer ways than an agent segment."""
    closes_and_skill = set(rules.END_REASONS[: rules.CLOSED_BY_SYSTEM + 1]) | {rules.END_REASONS[rules.SKILL_TRANSFER]}
    return {
        "agent_segments": {
            "userType": set(model.USER_TYPES),
            "follows": set(rules.FOLLOWS),
            "endReason": set(rules.END_REASONS),
            "outcome": set(rules.OUTCOMES),
        },
        "skill_segments": {
            "userType": set(rules.SKILL_USER_TYPES),
            "endReason": closes_and_skill,
            "outcome": set(rules.OUTCOMES),
        },
        "queue_segments": {
            "follows": set(rules.QUEUE_FOLLOWS),
            "fromUserType": set(rules.QUEUE_USER_TYPES),
            "toUserType": set(model.USER_TYPES),
            "endReason": set(rules.QUEUE_ENDS),
        },
        "handle_time_units": {"startReason": set(rules.UNIT_STARTS), "endReason": set(rules.UNIT_ENDS)},
    }[table]


def test_every_field_of_the_summary_is_documented() -> None:
    documented = [field for row in rows_of(section("summary.json"), "meaning") for field in CODE.findall(row[0])]
    assert documented == list(msgspec.json.decode(Quality().to_json()))


def test_every_reason_without_effect_is_documented() -> None:
    assert [name(row[0]) for row in rows_of(section("summary.json"), "rules")] == [
        effect for effect in rules.EFFECTS if effect
    ]


@pytest.mark.parametrize(
    ("title", "metrics"),
    [
        ("Agent segments", AGENT_METRICS),
        ("Skill segments", SKILL_METRICS),
        ("Queue segments", QUEUE_METRICS),
        ("Of this house", OUR_METRICS),
        ("Parts of averages", PARTS),
        ("Handle time in intervals", HANDLE_TIME_IN_INTERVAL),
    ],
)
def test_every_metric_is_documented(title: str, metrics: tuple[Metric, ...]) -> None:
    documented = [(name(row[0]), row[1]) for row in rows_of(section(title), "rules")]
    assert documented == [(metric.key, metric.unit) for metric in metrics]


def test_no_metric_is_in_none_of_those_groups() -> None:
    assert [*METRICS.values()] == [*AGENT_METRICS, *SKILL_METRICS, *QUEUE_METRICS, *OUR_METRICS]


def test_every_field_of_an_event_is_documented() -> None:
    events = (DOCS / "events.md").read_text()
    in_all = {name(row[0]) for row in rows_of(events, "value") if len(row) == 3}
    of_types: dict[str, set[str]] = {}
    types: list[str] = []
    for row in rows_of(events, "value"):
        if len(row) == 4:
            types = CODE.findall(row[0]) or types
            for type_ in types:
                of_types.setdefault(type_, set()).add(name(row[1]))
    assert in_all == {field.name for field in FIELDS if None in (field.required, field.optional)}
    assert of_types == {
        type_: own
        for type_ in TYPES
        if (own := {field.name for field in FIELDS if field.name not in in_all and field.belongs_to(type_)})
    }


# --- Markdown ------------------------------------------------------------------------------------------------------


def section(title: str) -> str:
    """What stands in docs/tables.md under a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", TABLES.read_text(), re.DOTALL | re.MULTILINE)
    assert found, f"no section {title}"
    return found[1]


def rows_of(text: str, last: str) -> list[Cells]:
    """The rows of all tables whose last column has this heading."""
    rows: list[Cells] = []
    inside = False
    for line in FENCED.sub("", text).splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]] if line.startswith("|") else []
        if not cells or cells[-1] == last:
            inside = bool(cells)
        elif inside and set(cells[-1]) != {"-"}:
            rows.append(cells)
    return rows


def name(cell: str) -> str:
    """The one name that stands as code in a cell."""
    (only,) = CODE.findall(cell)
    return str(only)

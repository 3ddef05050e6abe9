"""What `handletime.compiled` says of records and arrays, as far as it can be read from the source.

A name is taken for a record where one of its fields is read or written, or where it is handed to a function that wants
a `Record`. What is taken from an array of records that is made in a function is found too, whatever becomes of it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias, TypeGuard

import pytest

SOURCE: Final = Path(__file__).parents[2] / "src" / "handletime"
MARKS: Final = {"compiled", "borrowing"}
NUMBERS: Final = {"None", "bool", "int", "float", "np.int64", "np.uint32", "np.uint64"}
"""What a borrowing function may return, alone or in a tuple."""
CASTS: Final = {"np.int8", "np.int32", "np.int64", "np.uint8", "np.uint32", "np.uint64"}
BUILT_IN: Final = {"abs", "bool", "enumerate", "int", "len", "max", "min", "ord", "range", "zip"}
OF_ARRAYS: Final = {"argsort", "astype", "copy", "dtype", "reshape", "shape", "size", "sort", "view"}
"""What an array has itself: no fields of records."""

Binding: TypeAlias = tuple[str, ast.expr | None]
"""A name, and what it is bound to; None where that cannot be seen."""
Fault: TypeAlias = tuple[int, str]
"""A line, and what is wrong there."""


class Marked(NamedTuple):
    """A function that is compiled, and how it is marked."""

    module: str
    mark: str
    node: ast.FunctionDef

    def parameters(self, annotation: str) -> set[str]:
        """The parameters with this annotation."""
        return {arg.arg for arg in self.node.args.args if arg.annotation and ast.unparse(arg.annotation) == annotation}


def marked_functions(trees: dict[str, ast.Module]) -> dict[str, Marked]:
    """Those of some modules, by their names; no two have the same."""
    found: dict[str, Marked] = {}
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                marks = [mark.id for mark in node.decorator_list if isinstance(mark, ast.Name) and mark.id in MARKS]
                assert not marks or node.name not in found, f"{module}: there is another compiled {node.name}"
                for mark in marks:
                    found[node.name] = Marked(module, mark, node)
    return found


def faults(trees: dict[str, ast.Module]) -> list[str]:
    """Whatever breaks the rules, with its place."""
    marked = marked_functions(trees)
    return [
        f"{function.module}:{line}: {name} {what}"
        for name, function in marked.items()
        for line, what in sorted({*records_without_array(function, marked), *arrays_uncounted(function, marked)})
    ]


# --- a record is taken only from an array that lasts -----------------------------------------------------------------


def records_without_array(function: Marked, marked: dict[str, Marked]) -> Iterator[Fault]:
    """Records whose array may be freed while they are used."""
    node = function.node
    bound = list(bindings(node))
    lasting = lasting_arrays(node, bound)
    used = list(used_as_records(node, {name for name, _ in bound}, marked))
    made = {name for name, value in bound if value and _makes_records(value)} | function.parameters("Records")
    records = {part.id for part in used if isinstance(part, ast.Name)} | function.parameters("Record")
    taken = [part for part in used if not isinstance(part, ast.Name)]
    taken += [part for part in ast.walk(node) if _is_element(part) and _array_of(part.value) in made]
    for name, value in bound:
        if name not in records or (isinstance(value, ast.Name) and value.id in records):
            continue
        if value is None:
            yield node.lineno, f"takes a record, {name}, and one cannot see from where"
        else:
            taken.append(value)
    for part in taken:
        if not (_is_element(part) and _array_of(part.value) in lasting):
            yield part.lineno, f"takes a record from an array that may be freed before it: {ast.unparse(part)}"
    for end in (part for part in ast.walk(node) if isinstance(part, ast.Return)):
        for part in _parts(end.value):
            if isinstance(part, ast.Name) and part.id in records:
                yield end.lineno, f"returns a record: {part.id}"


def lasting_arrays(node: ast.FunctionDef, bound: list[Binding]) -> set[str]:
    """Arrays, and tuples of arrays, that last until the function ends: those it is given, and slices of them.

    Also one that it makes, once, and returns at each end: the array is needed until then.
    """
    names = [name for name, _ in bound]
    lasting = {arg.arg for arg in node.args.args} - set(names)
    ends = [part for part in ast.walk(node) if isinstance(part, ast.Return)]
    if ends and isinstance(node.body[-1], ast.Return):
        returned = [{part.id for part in _parts(end.value) if isinstance(part, ast.Name)} for end in ends]
        lasting |= {name for name in set.intersection(*returned) if names.count(name) == 1}
    before: set[str] = set()
    while before != lasting:
        before = set(lasting)
        for name in set(names):
            if all(value is not None and _array_of(value) in lasting for other, value in bound if other == name):
                lasting.add(name)
    return lasting


def used_as_records(node: ast.FunctionDef, local: set[str], marked: dict[str, Marked]) -> Iterator[ast.expr]:
    """Local names and elements of which a field is named, or that are handed on as a `Record`."""
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and part.attr not in OF_ARRAYS:
            if _is_element(part.value) or (isinstance(part.value, ast.Name) and part.value.id in local):
                yield part.value
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id in marked:
            called = marked[part.func.id]
            given = dict(zip([arg.arg for arg in called.node.args.args], part.args, strict=False))
            given |= {word.arg: word.value for word in part.keywords if word.arg}
            wanted = [given[name] for name in called.parameters("Record") & given.keys()]
            yield from (value for value in wanted if not isinstance(value, ast.Name) or value.id in local)


def bindings(node: ast.FunctionDef) -> Iterator[Binding]:
    """Every name that is bound inside the function, with what it is bound to."""
    for part in ast.walk(node):
        if isinstance(part, ast.Assign):
            for target in part.targets:
                yield from _bound(target, part.value)
        elif isinstance(part, ast.AnnAssign | ast.NamedExpr):
            yield from _bound(part.target, part.value)
        elif isinstance(part, ast.AugAssign):
            yield from _bound(part.target, None)
        elif isinstance(part, ast.For):
            # An element of what is walked over, as if it were taken by a place.
            place = ast.Constant("…")
            yield from _bound(part.target, ast.Subscript(part.iter, place, ast.Load(), lineno=part.lineno))


def _bound(target: ast.expr, value: ast.expr | None) -> Iterator[Binding]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple):
        values = _parts(value) if isinstance(value, ast.Tuple) else [None] * len(target.elts)
        for part, one in zip(target.elts, values, strict=True):
            yield from _bound(part, one)


def _is_element(node: ast.AST) -> TypeGuard[ast.Subscript]:
    """Whether something is read by its place, and is no slice."""
    if not isinstance(node, ast.Subscript) or not isinstance(node.ctx, ast.Load):
        return False
    return not any(isinstance(place, ast.Slice) for place in _parts(node.slice))


def _array_of(node: ast.expr) -> str:
    """The name of the array that this is, or is a slice of; of the tuple that has it as a field. Else nothing."""
    while isinstance(node, ast.Attribute) or (isinstance(node, ast.Subscript) and not _is_element(node)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _makes_records(value: ast.expr) -> bool:
    """Whether a call is given one of the house's dtypes: `np.zeros(1, STATE)`."""
    words = [*value.args[1:], *(word.value for word in value.keywords)] if isinstance(value, ast.Call) else []
    return any(ast.unparse(word).rpartition(".")[2].isupper() for word in words)


def _parts(value: ast.expr | None) -> list[ast.expr]:
    return value.elts if isinstance(value, ast.Tuple) else [value] if value is not None else []


# --- a borrowing function makes no array, and returns numbers --------------------------------------------------------


def arrays_uncounted(function: Marked, marked: dict[str, Marked]) -> Iterator[Fault]:
    """Where a borrowing function makes an array, or returns what its caller would count."""
    node = function.node
    if function.mark != "borrowing":
        return
    is_tuple = isinstance(node.returns, ast.Subscript) and ast.unparse(node.returns.value) == "tuple"
    kinds = _parts(node.returns.slice if isinstance(node.returns, ast.Subscript) and is_tuple else node.returns)
    for kind in [ast.unparse(kind) for kind in kinds] or ["one cannot see what"]:
        if kind not in NUMBERS:
            yield node.lineno, f"is borrowing and returns {kind}"
    for call in (part for part in ast.walk(node) if isinstance(part, ast.Call)):
        name = ast.unparse(call.func)
        if name not in CASTS | BUILT_IN and (name not in marked or marked[name].mark != "borrowing"):
            yield call.lineno, f"is borrowing and calls {name}, which may make an array"


# --- the house, and what would not be allowed in it ------------------------------------------------------------------


def modules() -> dict[str, ast.Module]:
    """Each module of the package but `compiled`, by its path."""
    files = sorted(file for file in SOURCE.rglob("*.py") if file.name != "compiled.py")
    return {str(file.relative_to(SOURCE)): ast.parse(file.read_text()) for file in files}


def test_no_record_outlives_its_array_and_no_borrowing_function_makes_one() -> None:
    trees = modules()
    assert len(marked_functions(trees)) > 100
    assert faults(trees) == []


def test_code_is_compiled_by_these_marks_alone_and_under_their_names() -> None:
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert [alias.name for alias in node.names if alias.name.partition(".")[0] == "numba"] == [], path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").partition(".")[0] != "numba", path
                if node.module == "handletime.compiled":
                    assert [alias.asname for alias in node.names if alias.asname] == [], path


BEGIN: Final = """
@borrowing
def begin(state: Record, at: int) -> None:
    state.at = at
"""
WRONG: Final = {
    # as it was in the walk over all conversations: the array is dead after the second line
    "an array that may be freed before it: states[0]": """
def walk(times: I64) -> None:
    states = np.zeros(1, STATE)
    state = states[0]
    for time in times:
        begin(state, time)
""",
    "an array that may be freed before it: mine[i]": """
def losses(moves: Records, order: I32) -> int:
    mine = moves[order]
    last = 0
    for i in range(len(mine)):
        move = mine[i]
        last = move.time
    return last
""",
    "an array that may be freed before it: states[1]": """
def rebound(states: Records, more: bool) -> int:
    if more:
        states = np.concatenate((states, states))
    return states[1].at
""",
    "an array that may be freed before it: moves[order][0]": """
def of_a_copy(moves: Records, order: I32) -> None:
    begin(moves[order][0], 1)
""",
    "an array that may be freed before it: made_of(moves)[0]": """
def of_an_answer(moves: Records) -> None:
    begin(made_of(moves)[0], at=1)
""",
    "an array that may be freed before it: grown[0]": """
def returned_but_not_the_same(count: int) -> Records:
    grown = np.zeros(1, STATE)
    state = grown[0]
    grown = np.zeros(count, STATE)
    state.at = 1
    return grown
""",
    "an array that may be freed before it: perhaps[0]": """
def returned_at_one_end(count: int) -> Records:
    perhaps = np.zeros(1, STATE)
    state = perhaps[0]
    if count > 1:
        begin(state=state, at=1)
        return np.zeros(count, STATE)
    return perhaps
""",
    "an array that may be freed before it: other[0]": """
def copied(into: Records) -> None:
    other = np.empty_like(into, dtype=rules.STATE)
    into[0] = other[0]
""",
    "an array that may be freed before it: pair[0]": """
def from_a_tuple(moves: Records) -> int:
    pair = moves[::2].copy()
    first, number = pair[0], 1
    return first.at + number
""",
    "an array that may be freed before it: several['…']": """
def walked_over(count: int) -> None:
    several = np.zeros(count, STATE)
    for state in several:
        state.at = 1
""",
    "takes a record, found, and one cannot see from where": """
def handed_back(states: Records) -> int:
    found, number = search(states)
    return found.at + number
""",
    "returns a record: mine": """
def kept(states: Records) -> Record:
    mine = states[0]
    mine.at = 1
    return mine
""",
}
UNCOUNTED: Final = {
    "is borrowing and returns I64": "def part(places: I64) -> I64:\n    return places[1:]",
    "is borrowing and returns Bools": "def part(found: Bools) -> tuple[int, Bools]:\n    return 1, found",
    "is borrowing and returns Record": "def part(states: Records) -> Record:\n    return states[0]",
    "is borrowing and returns one cannot see what": "def part(places: I64):\n    return places",
    "is borrowing and calls np.zeros": "def part(size: int) -> int:\n    return len(np.zeros(size))",
    "is borrowing and calls places.copy": "def part(places: I64) -> int:\n    return places.copy()[0]",
    "is borrowing and calls gathered": "def part(places: I64) -> int:\n    return gathered(places)[0]",
}
RIGHT: Final = """
@compiled
def walk(out: Out, states: Records, times: I64) -> tuple[Records, int]:
    state, other = states[0], out.segments[1]
    moves = np.empty(len(times), MOVE)
    for i in range(len(times)):
        move = moves[i]
        move.time = times[i]
        begin(state, out.units[i].start)
        begin(out.segments[i], times[i:].copy()[0])
    mine = states[1:5]
    mine[0].at = other.at
    mine[1] = out.segments[2]
    return moves, mine[0].at
"""


@pytest.mark.parametrize("what", WRONG)
def test_a_record_that_may_outlive_its_array_is_found(what: str) -> None:
    found = faults({"wrong.py": ast.parse(f"{BEGIN}\n@compiled{WRONG[what]}")})
    assert len(found) == 1, found
    assert what in found[0]


@pytest.mark.parametrize("what", UNCOUNTED)
def test_a_borrowing_function_that_makes_or_returns_an_array_is_found(what: str) -> None:
    found = faults({"wrong.py": ast.parse(f"{BEGIN}\n@borrowing\n{UNCOUNTED[what]}")})
    assert len(found) == 1, found
    assert what in found[0]


def test_what_lasts_is_not_complained_of() -> None:
    assert faults({"right.py": ast.parse(f"{BEGIN}{RIGHT}")}) == []

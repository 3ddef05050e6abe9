"""A target in words, for the page and the command line (rules.md 5.2, 5.3)."""

from __future__ import annotations

from collections.abc import Iterator

from handletime.answers.words import CLOCKS, duration, rfc_3339
from handletime.targets.targets import AccountTargets, Target


def lines_of(target: Target) -> Iterator[str]:
    """What a target says: whose waits it is for, in which time, within which hours; and what else it decides."""
    conditions = {
        "accounts": target.accounts and sorted(target.accounts),
        "skills": target.skills and sorted(target.skills),
        "sources": target.sources and sorted(target.sources),
    }
    told = [f"{name} {', '.join(map(str, values))}" for name, values in conditions.items() if values]
    told += [f"{target.user_type} agents"] if target.user_type else []
    if target.since is not None:
        told.append(f"segments that start from {rfc_3339(target.since)} on")
    yield f"for {'; '.join(told)}" if told else "for all"
    yield promise_of(target)
    if "firstResponse" in target.limits and target.first_response_from == "queued":
        yield "the first response is counted from the start of the queue"
    if "response" in target.limits and not target.response_first:
        yield "an agent's first message in a segment is no response here"
    if "queueWait" in target.limits:
        short = "" if target.short_abandon is None else f", if it took {duration(target.short_abandon)} or longer"
        meaning = {
            "late": "is missed where the target had passed",
            "missed": "is missed",
            "met": "is met",
            "ignored": "counts nowhere",
        }[target.abandoned]
        yield f"a wait that the consumer ends {meaning}{short}"


def promise_of(target: Target) -> str:
    """`first response within 1 min, response within 3 min; hours: office`."""
    limits = (f"{CLOCKS[clock]} within {duration(limit)}" for clock, limit in target.limits.items())
    return f"{', '.join(limits)}; hours: {target.calendar.name}"


def meanings_of(targets: AccountTargets) -> dict[str, str]:
    """What each target of an account is, by its name; of several the first that fits counts."""
    return {f"target {target.name}": ", ".join(lines_of(target)).capitalize() for target in targets.targets}


def shadowed(targets: AccountTargets) -> Iterator[tuple[Target, Target]]:
    """Targets that can never count, each with one before it that fits whatever it fits."""
    for place, target in enumerate(targets.targets):
        before = next((each for each in targets.targets[:place] if _fits_all_of(each, target)), None)
        if before is not None:
            yield target, before


def _fits_all_of(one: Target, other: Target) -> bool:
    """Whether a target fits every segment that another fits."""
    sets = ((one.accounts, other.accounts), (one.skills, other.skills), (one.sources, other.sources))
    return (
        all(mine is None or (theirs is not None and theirs <= mine) for mine, theirs in sets)
        and one.user_type in (None, other.user_type)
        and (one.since is None or (other.since is not None and one.since <= other.since))
    )

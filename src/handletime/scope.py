"""What of an account a key may see: segments of some groups, of some skills, or all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from handletime.errors import InputError

IDS_MAX: Final = 1_000
"""The most groups, and the most skills, that a scope names."""
_INTEGERS: Final = range(-(1 << 63), 1 << 63)


class Scope(NamedTuple):
    """Only segments of these groups, and of these skills; None is all. Ids are in ascending order, each once.

    A group is that of an assignment. What nobody is assigned to is of no group, so a scope of groups has nothing of it:
    no queue segments, and no skill segments, which may be of several groups.
    """

    groups: tuple[int, ...] | None = None
    skills: tuple[int, ...] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the account."""
        return self == WHOLE

    @property
    def has_queues(self) -> bool:
        """Whether anything of the queue, and of skill segments, lies within it."""
        return self.groups is None

    def has(self, skill: object, group: object) -> bool:
        """Whether an agent segment of this skill and group, which may be None in the queue, lies within it."""
        return (self.groups is None or group in self.groups) and self.has_skill(skill)

    def has_skill(self, skill: object) -> bool:
        """Whether a skill is one of its own. A skill or queue segment lies within it where it also `has_queues`."""
        return self.skills is None or skill in self.skills

    def __str__(self) -> str:
        """Such as `groups 51, 52 and skill 10`; "" for all."""
        return " and ".join(
            f"{kind}{'s' if len(ids) > 1 else ''} {', '.join(map(str, ids))}"
            for kind, ids in (("group", self.groups), ("skill", self.skills))
            if ids is not None
        )


WHOLE: Final = Scope()
"""All of an account."""


def scope_of(groups: Iterable[int] = (), skills: Iterable[int] = ()) -> Scope:
    """The scope of these groups and skills; none of a kind means all of it. Raises InputError: what is allowed."""
    ids = [tuple(sorted(set(each))) or None for each in (groups, skills)]
    for some in filter(None, ids):
        if some[0] not in _INTEGERS or some[-1] not in _INTEGERS:
            raise InputError("groups and skills must be whole numbers of 64 bits")
        if len(some) > IDS_MAX:
            raise InputError(f"a key may be limited to at most {IDS_MAX:,} groups and {IDS_MAX:,} skills")
    return Scope(*ids)

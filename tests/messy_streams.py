"""Random streams of valid but messy events, for comparing two readings of rules.md.

Each stream has a temper of its own (how far apart its events lie, who sets `sequence`, how ids look, how much
of it follows a sensible flow), so that three hundred streams reach every clause.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from random import Random
from typing import TypeVar

RawEvent = dict[str, object]
Name = TypeVar("Name", int, str)

BASE = 1_795_165_200_000  # 2026-11-20T09:00:00Z, like the examples
MILLIS_MIN = 946_684_800_000  # 2000-01-01T00:00:00Z
ID_LIMIT = 2**63

ACCOUNTS = ("local", "B2", "b2", "Z" * 64, "7", "A7", "a", "0")
PLAIN_IDS = ("c1", "c2", "c10", "c", "d", "é")
# Ids of both kinds. U+FF5E and U+1F600 stand the other way round by UTF-16; "é" and "z" by some locales.
ODD_IDS = (
    *("z", "é", "\uff5e", "\U0001f600", "Z", "ü1", "жж", "a b", '"', "\\", "/", ":", "漢字"),
    *("e" * 128, "\U0001f600" * 128, "z\uff5e", "z\U0001f600", "0", "-1"),
)
AGENTS = (1, 2, 3, -1, 0, 1000, ID_LIMIT - 1, -ID_LIMIT, 2**53 + 1, 2**53, -2, -ID_LIMIT + 1)
SKILLS = (10, 20, -1, 30, 0, ID_LIMIT - 1, -ID_LIMIT)
GROUPS = (5, 6, -1, ID_LIMIT - 1, -ID_LIMIT)
SOURCES = ("APP", "FACEBOOK", "SMS", "WEB", "x", "é\U0001f600", "")
EMPLOYEES = ("emp-1", "emp-2", "é", "")
TYPES = ("opened", "assigned", "message", "transferred", "focused", "unfocused", "closed", "resumed", "withdrawn")
SENDERS = ("consumer", "agent", "system")
CLOSERS = ("consumer", "agent", "system")
REASONS = ("agent", "skill", "backToQueue", "takeover")
CHANGES = ("nothing", "nothing", "time", "type", "sequence", "content", "field", "defaults")
REVISIONS = (0, 1, 1, 2, 3, 2**53 - 1)
LEASES = (1, 2, 5, 1000, 45_000, 86_400_000)
OPTIONAL = (
    "accountId",
    "sequence",
    "revision",
    "leaseMillis",
    "source",
    "skillId",
    "employeeId",
    "groupId",
    "userType",
    "agentId",
)
FINER_DIGITS = ("", "", "0", "9", "999", "999999", "500001")
EXTREME_SEQUENCES = (ID_LIMIT - 1, -ID_LIMIT, ID_LIMIT - 2, -ID_LIMIT + 1, 0)


@dataclass(frozen=True)
class Temper:
    """What is the same for all events of one stream."""

    steps: tuple[int, ...]  # milliseconds from one event to the next, drawn from these
    displaced: float  # how many events are moved elsewhere in time afterwards
    sequences: str  # "none", "few", "small", "counted", "extreme"
    event_ids: str  # "stream", "conversation", "odd"
    rendering: str  # of times: "epoch", "text", "mixed"
    plausible: float  # how many events follow from the state
    stays: float  # how many events are of the same conversation as the one before
    duplicated: float
    corrections: float  # how many copies have a revision
    leases: float  # how many `focused` have a lease
    skills: tuple[int, ...]
    bots: float
    nulls: float
    foreign_fields: float


@dataclass
class _Conversation:
    account: str
    id: str
    state: str = "new"  # then "open", "closed"
    assigned: int | None = None
    events: int = 0


def messy_stream(
    seed: int, *, accounts: int = 2, conversations: int = 6, agents: int = 4, events: int = 120
) -> list[RawEvent]:
    """A stream of `events` different events and some copies, the same for the same arguments.

    `conversations` is their number over all accounts (of which there are at most 8); some share their
    conversationId with one of another account. The agents serve every account. The default account is
    "local", and often left out of its events.
    """
    return _Stream(Random(seed), accounts, conversations, agents).events(events)


class _Stream:
    def __init__(self, random: Random, accounts: int, conversations: int, agents: int) -> None:
        self.random = random
        self.temper = _temper(random)
        self.agents = [*_some(random, AGENTS, agents), *range(1001, 1001 + agents - len(AGENTS))]
        names = [ACCOUNTS[0], *_some(random, ACCOUNTS[1:], accounts - 1)]
        ids = _some(random, random.choice((PLAIN_IDS, PLAIN_IDS, ODD_IDS)), conversations)
        self.conversations: list[_Conversation] = []
        for number in range(conversations):
            account = names[0] if random.random() < 0.6 else random.choice(names)
            id_ = random.choice(ids)
            if (account, id_) in {(other.account, other.id) for other in self.conversations}:
                id_ = f"k{number}"
            self.conversations.append(_Conversation(account, id_))
        self.focus: dict[tuple[str, int], _Conversation | None] = {}
        # A few streams lie around 1970, where cutting off and rounding differ.
        self.start = BASE if random.random() < 0.97 else -20
        self.clock = self.start
        self.counted = random.choice((0, 0, -3, 1000))
        self.used_ids: set[tuple[str, str, str]] = set()

    def events(self, number: int) -> list[RawEvent]:
        random, temper = self.random, self.temper
        stream: list[RawEvent] = []
        conversation = random.choice(self.conversations)
        for _ in range(number):
            self.clock += random.choice(temper.steps)
            if random.random() >= temper.stays:
                conversation = random.choice(self.conversations)
            plausible = random.random() < temper.plausible
            content = self._plausible(conversation) if plausible else self._anything()
            self._advance(conversation, content)
            event = self._event(conversation, content)
            if random.random() < temper.displaced:
                event["time"] = self.start + random.randint(0, max(1, self.clock - self.start))
            stream.append(event)
        for event in list(stream):
            while random.random() < temper.duplicated:
                stream.append(self._copy(event))
        rendered = [self._rendered(event) for event in stream]
        if random.random() < 0.8:
            random.shuffle(rendered)
        return rendered

    # --- What happens next

    def _plausible(self, conversation: _Conversation) -> RawEvent:
        """An event that makes sense as the next one of this conversation."""
        choices = {
            "new": self._choices_before_opening,
            "open": self._choices_with_agent if conversation.assigned is not None else self._choices_in_queue,
            "closed": self._choices_after_close,
        }[conversation.state]
        makers, weights = zip(*choices(conversation), strict=True)
        make: Callable[[], RawEvent] = self.random.choices(makers, weights)[0]
        return make()

    def _choices_before_opening(self, _: _Conversation) -> list[tuple[Callable[[], RawEvent], int]]:
        return [
            (self._opened, 60),
            (self._consumer_writes, 8),
            (self._assigned, 8),
            (self._transferred, 8),
            (self._resumed, 5),
            (self._focused, 6),
            (self._closed, 3),
            (self._system_writes, 2),
        ]

    def _choices_in_queue(self, _: _Conversation) -> list[tuple[Callable[[], RawEvent], int]]:
        return [
            (self._assigned, 50),
            (self._consumer_writes, 18),
            (self._focused, 12),
            (self._transferred, 8),
            (self._closed, 7),
            (self._agent_writes, 3),
            (self._opened, 2),
        ]

    def _choices_with_agent(self, conversation: _Conversation) -> list[tuple[Callable[[], RawEvent], int]]:
        agent = conversation.assigned
        assert agent is not None
        looks = self.focus.get((conversation.account, agent)) is conversation
        return [
            (lambda: self._focuses(agent), 12 if looks and self.temper.leases else 2 if looks else 30),
            (lambda: {"type": "unfocused", "agentId": agent}, 12 if looks else 1),
            (lambda: self._writes(agent), 35 if looks else 12),
            (self._consumer_writes, 24),
            (self._transferred, 7),
            (self._closed, 5),
            (self._assigned, 3),
            (lambda: {"type": "assigned", "agentId": agent}, 2),
            (self._agent_writes, 3),
            (self._system_writes, 3),
            (self._focused, 3),
            (self._resumed, 1),
        ]

    def _choices_after_close(self, _: _Conversation) -> list[tuple[Callable[[], RawEvent], int]]:
        return [
            (self._resumed, 40),
            (self._opened, 18),
            (self._consumer_writes, 12),
            (self._assigned, 8),
            (self._focused, 8),
            (self._unfocused, 6),
            (self._transferred, 4),
            (self._closed, 4),
            (self._agent_writes, 3),
            (self._system_writes, 1),
        ]

    def _anything(self) -> RawEvent:
        return self._of_type(self.random.choice(TYPES))

    def _of_type(self, type_: str) -> RawEvent:
        makers: dict[str, Callable[[], RawEvent]] = {
            "opened": self._opened,
            "assigned": self._assigned,
            "message": self.random.choice((self._consumer_writes, self._agent_writes, self._system_writes)),
            "transferred": self._transferred,
            "focused": self._focused,
            "unfocused": self._unfocused,
            "closed": self._closed,
            "resumed": self._resumed,
            "withdrawn": lambda: {"type": "withdrawn"},
        }
        return makers[type_]()

    def _advance(self, conversation: _Conversation, content: RawEvent) -> None:
        """Follow the state roughly: only what is plausible next depends on it."""
        agent = content.get("agentId")
        type_ = content["type"]
        if type_ in ("opened", "resumed"):
            conversation.state = "open"
        elif type_ == "closed":
            conversation.state, conversation.assigned = "closed", None
        elif type_ == "transferred" and conversation.state != "closed":
            conversation.state, conversation.assigned = "open", None
        elif type_ == "assigned" and conversation.state != "closed":
            assert isinstance(agent, int)
            conversation.state, conversation.assigned = "open", agent
        elif type_ == "focused":
            assert isinstance(agent, int)
            self.focus[conversation.account, agent] = conversation
        elif type_ == "unfocused":
            assert isinstance(agent, int)
            if self.focus.get((conversation.account, agent)) is conversation:
                self.focus[conversation.account, agent] = None

    # --- One event of each type

    def _opened(self) -> RawEvent:
        return {"type": "opened", **self._sometimes("source", SOURCES, 0.5), **self._skill(0.7)}

    def _resumed(self) -> RawEvent:
        return {"type": "resumed", **self._sometimes("source", SOURCES, 0.3), **self._skill(0.2)}

    def _assigned(self) -> RawEvent:
        bot = self.random.random() < self.temper.bots
        user_type: RawEvent = {"userType": "bot"} if bot else self._sometimes("userType", ("human",), 0.2)
        return {
            "type": "assigned",
            "agentId": self.random.choice(self.agents),
            **user_type,
            **self._sometimes("employeeId", EMPLOYEES, 0.4),
            **self._sometimes("groupId", GROUPS, 0.4),
            **self._skill(0.2),
        }

    def _transferred(self) -> RawEvent:
        reason = self.random.choice(REASONS)
        return {"type": "transferred", "reason": reason, **self._skill(0.8 if reason == "skill" else 0.2)}

    def _focused(self) -> RawEvent:
        return self._focuses(self.random.choice(self.agents))

    def _focuses(self, agent: int) -> RawEvent:
        leases = [lease for lease in LEASES if lease <= 10 * max(self.temper.steps)] or LEASES[:3]
        return {"type": "focused", "agentId": agent, **self._sometimes("leaseMillis", leases, self.temper.leases)}

    def _unfocused(self) -> RawEvent:
        return {"type": "unfocused", "agentId": self.random.choice(self.agents)}

    def _closed(self) -> RawEvent:
        return {"type": "closed", "closedBy": self.random.choice(CLOSERS)}

    def _consumer_writes(self) -> RawEvent:
        return {"type": "message", "sentBy": "consumer"}

    def _system_writes(self) -> RawEvent:
        return {"type": "message", "sentBy": "system"}

    def _agent_writes(self) -> RawEvent:
        return self._writes(self.random.choice(self.agents))

    def _writes(self, agent: int) -> RawEvent:
        return {"type": "message", "sentBy": "agent", **self._sometimes("agentId", (agent,), 0.8)}

    def _skill(self, chance: float) -> RawEvent:
        return self._sometimes("skillId", self.temper.skills, chance)

    def _sometimes(self, name: str, values: Sequence[object], chance: float) -> RawEvent:
        return {name: self.random.choice(values)} if self.random.random() < chance else {}

    # --- What every event has

    def _event(self, conversation: _Conversation, content: RawEvent) -> RawEvent:
        event: RawEvent = {
            "eventId": self._event_id(conversation),
            "conversationId": conversation.id,
            "time": self.clock,
            **content,
        }
        if conversation.account != ACCOUNTS[0] or self.random.random() < 0.3:
            event["accountId"] = conversation.account
        sequence = self._sequence()
        if sequence is not None:
            event["sequence"] = sequence
        return event

    def _event_id(self, conversation: _Conversation) -> str:
        random = self.random
        conversation.events += 1
        number = len(self.used_ids)
        if self.temper.event_ids == "stream":
            # Not padded: "e10" comes before "e9". With "d" the ids run against the order of the events.
            id_ = f"e{number}" if random.random() < 0.8 else f"d{1000 - number}"
        elif self.temper.event_ids == "conversation":
            id_ = f"m{conversation.events}"
        else:
            id_ = random.choice(ODD_IDS)[:127] + random.choice(("", "0", "é", "\U0001f600"))
        if (conversation.account, conversation.id, id_) in self.used_ids:
            id_ = f"{random.choice(ODD_IDS)[:99]}{number}"
        self.used_ids.add((conversation.account, conversation.id, id_))
        return id_

    def _sequence(self) -> int | None:
        random = self.random
        if self.temper.sequences == "counted":
            self.counted += 1
            return self.counted
        if self.temper.sequences == "small" or (self.temper.sequences == "few" and random.random() < 0.2):
            return random.choice((None, -2, -1, 0, 1, 2))
        if self.temper.sequences == "extreme":
            return random.choice(EXTREME_SEQUENCES)
        return None

    # --- Copies

    def _copy(self, event: RawEvent) -> RawEvent:
        """A copy with the same ids: identical, or with one thing said differently."""
        random = self.random
        copy = dict(event)
        change = random.choice(CHANGES)
        if change == "time":
            copy["time"] = _number(event["time"]) + random.choice((-1, 1, -5, 5, -60_000, 60_000))
        elif change == "type":
            copy = {**_shared_fields(event), **self._of_type(random.choice(TYPES))}
        elif change == "sequence":
            copy["sequence"] = random.choice((-1, 0, 1))
        elif change == "content":
            copy = {**_shared_fields(event), **self._of_type(str(event["type"]))}
        elif change == "field":
            others: RawEvent = {
                "agentId": random.choice(self.agents),
                "groupId": random.choice(GROUPS),
                "skillId": random.choice(SKILLS),
                "closedBy": random.choice(CLOSERS),
                "reason": random.choice(REASONS),
                "source": random.choice(SOURCES),
            }
            name = random.choice([name for name in others if name in event] or ["groupId"])
            copy[name] = others[name]
        elif change == "defaults":
            # says the same in more words (other fields than its own count for nothing)
            copy = {"accountId": ACCOUNTS[0], "sequence": 0, "revision": 0, "groupId": -1, "userType": "human", **event}
        if random.random() < self.temper.corrections:
            if random.random() < 0.3:
                copy = {**_shared_fields(copy), "type": "withdrawn"}
            copy["revision"] = random.choice(REVISIONS)
        return copy

    # --- How it is written down

    def _rendered(self, event: RawEvent) -> RawEvent:
        random = self.random
        rendered = dict(event)
        if random.random() < self.temper.foreign_fields:
            foreign: RawEvent = {
                "further": random.choice((1, "x", None)),
                "skillId": random.choice(SKILLS),
                "agentId": random.choice(self.agents),
                "source": random.choice(SOURCES),
                "userType": random.choice(("human", "bot")),
                "closedBy": random.choice(CLOSERS),
                "reason": random.choice(REASONS),
            }
            name = random.choice(list(foreign))
            if name not in _own_fields(event):
                rendered[name] = foreign[name]
        if random.random() < self.temper.nulls:
            for name in OPTIONAL:
                if name not in rendered and random.random() < 0.5:
                    rendered[name] = None
        as_text = self.temper.rendering == "text" or (self.temper.rendering == "mixed" and random.random() < 0.5)
        if as_text or _number(event["time"]) < MILLIS_MIN:  # no number means a time before 2000
            rendered["time"] = _time_text(_number(event["time"]), random)
        return rendered


def _temper(random: Random) -> Temper:
    return Temper(
        steps=random.choice(
            (
                (0,),  # everything in one millisecond
                (0, 0, 0, 1),
                (0, 0, 1, 2, 5),
                (0, 1, 10, 100),
                (0, 1000, 5000, 20_000),
                (1, 999, 60_000, 600_000),
            )
        ),
        displaced=random.choice((0.0, 0.0, 0.0, 0.05, 0.3)),
        sequences=random.choice(("none", "few", "small", "counted", "counted", "counted", "extreme")),
        event_ids=random.choice(("stream", "conversation", "odd")),
        rendering=random.choice(("epoch", "text", "mixed")),
        plausible=random.choice((0.98, 0.95, 0.9, 0.8, 0.5, 0.0)),
        stays=random.choice((0.9, 0.7, 0.3)),
        duplicated=random.choice((0.0, 0.02, 0.1, 0.3)),
        corrections=random.choice((0.0, 0.3, 0.8)),
        leases=random.choice((0.0, 0.0, 0.5, 1.0)),
        skills=random.choice((SKILLS[:2], SKILLS[:3], SKILLS)),
        bots=random.choice((0.0, 0.15, 0.4)),
        nulls=random.choice((0.0, 0.1, 0.5)),
        foreign_fields=random.choice((0.0, 0.0, 0.1, 0.5)),
    )


def _some(random: Random, values: Sequence[Name], number: int) -> list[Name]:
    return random.sample(values, min(number, len(values)))


def _shared_fields(event: RawEvent) -> RawEvent:
    names = ("accountId", "conversationId", "eventId", "time", "sequence", "revision")
    return {name: event[name] for name in names if name in event}


def _own_fields(event: RawEvent) -> tuple[str, ...]:
    if event["type"] == "message":
        return ("agentId",) if event["sentBy"] == "agent" else ()
    return {
        "opened": ("source", "skillId"),
        "assigned": ("agentId", "employeeId", "groupId", "userType", "skillId"),
        "transferred": ("reason", "skillId"),
        "focused": ("agentId", "leaseMillis"),
        "unfocused": ("agentId",),
        "closed": ("closedBy",),
        "resumed": ("source", "skillId"),
        "withdrawn": (),
    }[str(event["type"])]


def _time_text(epoch_milliseconds: int, random: Random) -> str:
    """RFC 3339, with any offset and any number of digits that mean the same millisecond."""
    minutes = random.choice((0, 0, 0, 60, -300, 345, 14 * 60, -1))
    zone = timezone(timedelta(minutes=minutes))
    moment = datetime.fromtimestamp(epoch_milliseconds // 1000, tz=zone)
    fraction = f"{epoch_milliseconds % 1000:03}" + random.choice(FINER_DIGITS)
    if set(fraction) == {"0"} and random.random() < 0.5:
        fraction = ""
    if fraction[-1:] == "0" and random.random() < 0.3:
        fraction = fraction.rstrip("0")
    sign = "-" if minutes < 0 else "+"
    offset = f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    if minutes == 0 and random.random() < 0.8:
        offset = "Z"
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{fraction}" if fraction else "") + offset


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value

"""Focus from the browsers of 2,000 agents: how long each move waits, what it costs the server, and what it adds to the
store.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bench.load import Sent, post, send
from bench.process import ask
from bench.results import Progress, Section, amount, gigabytes
from bench.server import Server, a_key, listening
from handletime.keys.keys import create_for_agents
from handletime.keys.sidefile import SideFile

ACCOUNT: Final = "bench"
PATH: Final = f"/api/account/{ACCOUNT}/focus"
AGENTS: Final = 2_000
MOVES_AN_HOUR: Final = 40
TOLD_A_MOVE: Final = 3
"""Requests of one view of 90 seconds: it begins, and is renewed after 30 and 60."""
PER_SECOND: Final = AGENTS * MOVES_AN_HOUR * TOLD_A_MOVE / 3600
SECONDS: Final = 60
CONNECTIONS: Final = 32
HOURS_A_DAY: Final = 8
TOGETHER: Final = 100
"""Moves in a request, where an hour of them is brought in at once to see what it adds to the store."""
LEASE_MS: Final = 45_000
SETTLE_S: Final = 5
"""Seconds for which the server is left alone before it is measured."""
TICKS: Final = 100
"""Ticks a second in /proc (sysconf SC_CLK_TCK, everywhere 100)."""


def measure(progress: Progress, seconds: int = SECONDS) -> Section:
    """The times of answers, the server's share of a processor, and the bytes that an hour adds to the store."""
    with tempfile.TemporaryDirectory(prefix="handletime-bench-") as name, tempfile.TemporaryFile() as log:
        folder, tokens = Path(name, "store"), Path(name, "tokens")
        token = a_key(folder, ACCOUNT, ["ingest"])
        with SideFile(folder, create=False) as side:
            made = create_for_agents(side, ACCOUNT, range(1, AGENTS + 1))
        tokens.write_text("\n".join(new.token for new in made.values()))
        conversations = Path(name, "conversations")
        conversations.write_text("".join(_conversations()))
        options = ("--log-level", "warning", "--focus-rate", "0")
        with listening(folder, log, *options) as (url, process):
            server = Server(url, token, process, 0.0)
            progress("the conversations that they look at")
            ask("load", url, f"/api/account/{ACCOUNT}/events", token, conversations, 5_000, 2)
            time.sleep(SETTLE_S)
            progress(f"{PER_SECOND:.0f} moves a second for {seconds} s")
            before = _processor_s(process.pid)
            sent, _ = ask("focus", url, tokens, 1, PER_SECOND, seconds)
            used = _processor_s(process.pid) - before
            peak = server.peak_bytes()
        start = _size(folder)
        with listening(folder, log, *options) as (url, _):
            progress("an hour of moves")
            number = AGENTS * MOVES_AN_HOUR * TOLD_A_MOVE
            ask("focus", url, tokens, TOGETHER, number, 1)
        grown = _size(folder) - start
    answers = Sent(sent["seconds"], sent["each"])
    shown = [f"{1000 * answers.percentile(share):.1f}" for share in (0.5, 0.99)]
    a_day = number * HOURS_A_DAY
    return Section(
        f"Focus of {AGENTS:,} agents, {MOVES_AN_HOUR} moves an hour each: {PER_SECOND:.0f} requests a second",
        ("", "p50", "p99", "worst"),
        [(f"answer, ms ({amount(len(answers.each))} requests)", *shown, f"{1000 * max(answers.each):.0f}")],
        f"Each move is told when it happens and renewed after 30 and 60 seconds, on {CONNECTIONS} connections that "
        f"stay open; server and client on this machine. The server used {100 * used / answers.seconds:.0f} % of one "
        f"processor and {gigabytes(peak)} of memory at most. An hour of them ({number:,} events) added "
        f"{grown / 1e6:.1f} MB to the store's folder after a stop, {grown / number:.0f} bytes each: a day of "
        f"{HOURS_A_DAY} hours ({a_day:,} events) {grown * HOURS_A_DAY / 1e6:.0f} MB.",
    )


def _processor_s(pid: int) -> float:
    """Seconds of processor time that a process has used; 0 where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _conversations() -> Iterator[str]:
    """Each conversation that an agent looks at, open and assigned to the agent, with one message of the consumer."""
    then = int(time.time() * 1000) - 3_600_000
    for number in range(AGENTS * MOVES_AN_HOUR):
        head = f'"conversationId":"{number}","time":{then}'
        agent = number // MOVES_AN_HOUR + 1
        yield f'{{"eventId":"o",{head},"type":"opened","skillId":{agent % 20}}}\n'
        yield f'{{"eventId":"a",{head},"type":"assigned","agentId":{agent}}}\n'
        yield f'{{"eventId":"m",{head},"type":"message","sentBy":"consumer"}}\n'


def _bodies(tokens: Sequence[str], together: int, number: int) -> Iterator[tuple[str, bytes]]:
    """So many moves, agent after agent, each of a view of 90 seconds."""
    now, agents = int(time.time() * 1000), len(tokens)
    for first in range(0, number, together):
        lines = []
        for move in range(first, min(first + together, number)):
            agent, told = (first // together) % agents, move // agents if together == 1 else move
            conversation = agent * MOVES_AN_HOUR + told // TOLD_A_MOVE % MOVES_AN_HOUR
            lines.append(
                f'{{"eventId":"f:0123456789abcdef:{together}.{move}","sequence":{move},"time":{now - number + move},'
                f'"conversationId":"{conversation}","type":"focused","leaseMillis":{LEASE_MS}}}'
            )
        yield tokens[(first // together) % agents], "\n".join(lines).encode()


def main(arguments: Sequence[str]) -> None:
    """Sends moves: address, file of keys, moves a request, moves a second (or in all), seconds."""
    url, tokens, together, per_second, seconds = arguments
    number = int(float(per_second) * int(seconds))
    keys = Path(tokens).read_text().splitlines()
    requests = [post(PATH, token, body) for token, body in _bodies(keys, int(together), number)]
    sent = send(url, requests, CONNECTIONS, float(per_second) if together == "1" else None)
    print(json.dumps({"seconds": sent.seconds, "each": sent.each}))


if __name__ == "__main__":
    main(sys.argv[1:])

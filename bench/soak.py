"""`python -m bench.soak`: an hour of load on a server, which has to stay flat; `make soak`.

A real server over a store of its own gets what `bench.soak_load` does, at a rate that leaves the machine room: this
is about what grows, not about how fast it is. Events older than a day are pruned all the time, so the store stays as
large as it is. Ends with 1 where memory, descriptors or threads grow after the warm-up, where an answer is one that
nobody should get, or where an acknowledged event is missing at the end.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen
from typing import IO, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench import machine
from bench.process import BenchmarkFailed, ask, compile_all, handletime, run
from bench.results import Section, write
from bench.server import listening
from bench.soak_events import ACCOUNTS, DAYS
from bench.soak_load import NO_ANSWER, Load, new_key
from bench.soak_watch import MIB, Finding, Sample, judge, sample, warm_up_s

DAY_S: Final = 60.0
"""A day has so many seconds of events, at least. In an hour it has a quarter of it: when the warm-up ends, what the
store began with has been pruned, and all there is came in over HTTP.
"""
MEMORY: Final = "256MiB"
"""Little enough for the database's cache to be full when the warm-up ends."""
EVENTS_A_SECOND: Final = 100
SAMPLE_S: Final = 5.0
PART: Final = 0.2
"""So much of the time is early, after the warm-up, and so much late."""
SLACK: Final = 1.1
"""More events are simulated than are sent: no client runs dry."""
PERMISSIONS: Final = ("ingest", "handle-time", "operations")
SERVER_ERRORS: Final = range(500, 600)
TOLD_MAX: Final = 250


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it; gives the exit status."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    work = Path(tempfile.mkdtemp(prefix="handletime-soak-"))
    load = os.getloadavg()[0]
    try:
        sections, findings = _soaked(work, options)
    except (BenchmarkFailed, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; nothing can be said.", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print("\n" + "\n\n".join(map(str, sections)))
    if options.out:
        write(options.out, machine.about(load), sections, "make soak")
    wrong = [each for each in findings if not each.fine]
    for each in wrong:
        print(f"Failed: {each.what}: {each.told}", file=sys.stderr)
    return 1 if wrong else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--rate", type=float, default=EVENTS_A_SECOND, help=f"events a second ({EVENTS_A_SECOND})")
    parser.add_argument("--out", type=Path, help="file for the result, in Markdown")
    parser.add_argument("--samples", type=Path, help="file for all samples, as CSV, while it runs")
    options = parser.parse_args(arguments)
    if not 0 < options.minutes <= 24 * 60 or not 10 <= options.rate <= 10_000:
        parser.error("--minutes: up to 1440; --rate: 10 to 10000")
    return options


def _soaked(work: Path, options: argparse.Namespace) -> tuple[list[Section], list[Finding]]:
    """Fills a store, loads its server, and looks at what came of it. Raises BenchmarkFailed, OSError."""
    if not Path("/proc/self/smaps_rollup").exists():
        raise BenchmarkFailed("memory is seen in /proc/PID/smaps_rollup, which only Linux has")
    seconds = 60 * options.minutes
    day_s = max(DAY_S, SLACK * seconds / (DAYS - 1))
    _told("compiling what is not yet")
    compile_all()
    _told(f"simulating {DAYS} days")
    made, _ = ask("soak_events", "make", work, round(DAYS * day_s * options.rate))
    store = work / "store"
    _told(f"storing {made['before']:,} events")
    run([*handletime(), "ingest", str(work / "before.ndjson"), "--data", str(store)])
    keys = [new_key(store, account, *PERMISSIONS) for account in ACCOUNTS]
    with (work / "log").open("w+b") as log:
        with listening(store, log, "--memory", MEMORY) as (url, process):
            load = Load(url, store, work, keys, options.rate, seconds)
            before = _clients_s()
            samples = _watched(load, process, seconds, options.samples)
            clients_s = _clients_s() - before
        code = process.returncode
        broken = _broken_lines(log)
    _told("comparing what was acknowledged with what is stored")
    findings = [
        *judge(samples, seconds),
        *_answered(load),
        Finding("the server's end", fine=code == 0, told=f"exit status {code}"),
        Finding("the server's log", fine=not broken, told="; ".join(broken[:3])[:600] or "no error in it"),
        *_kept(load),
    ]
    return [_flat(samples, seconds), _kinds(load, seconds), _verdict(findings, samples, clients_s)], findings


def _clients_s() -> float:
    """Processor time of this process and of the commands that it ran; the server still runs, and does not count."""
    own = os.times()
    return own.user + own.system + own.children_user + own.children_system


def _watched(load: Load, process: Popen[str], seconds: float, file: Path | None) -> list[Sample]:
    """Lets the load run so long; gives what was seen meanwhile. Raises BenchmarkFailed where the server ends."""
    samples: list[Sample] = []
    shown: list[str] = []
    every = min(SAMPLE_S, seconds / 40)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with ExitStack() as stack:
        bar = stack.enter_context(Progress(*columns, console=console, disable=not console.is_terminal))
        written = stack.enter_context(file.open("w", newline="")) if file else None
        rows = csv.writer(written) if written else None
        if rows:
            rows.writerow((*Sample._fields, "answers", "events", "problems"))
        task = bar.add_task("soaking", total=seconds)
        begun = time.monotonic()
        stack.callback(load.end)
        load.start()
        told = begun
        while (at := time.monotonic() - begun) < seconds:
            if process.poll() is not None:
                raise BenchmarkFailed(f"the server has ended, with {process.returncode}")
            samples.append(sample(process.pid, load.store, at))
            statuses = load.tally.all_statuses()
            if rows and written:
                rows.writerow((*samples[-1], statuses.total(), load.tally.events, load.tally.wrong))
                written.flush()
            for problem in load.tally.problems[len(shown) :]:
                shown.append(problem)
                console.print(f"wrong: {problem}", markup=False, highlight=False)
            line = _line(samples[-1], load)
            bar.update(task, completed=at, description=line)
            if not console.is_terminal and time.monotonic() - told > 60:
                told = time.monotonic()
                _told(line)
            time.sleep(max(0.0, min(begun + len(samples) * every - time.monotonic(), seconds - at)))
    return samples


def _line(seen: Sample, load: Load) -> str:
    """One moment, for people."""
    return (
        f"{seen.resident / MIB:,.0f} MiB, {seen.descriptors} descriptors, {seen.threads} threads, "
        f"{load.tally.all_statuses().total():,} answers, {load.tally.events:,} events, {load.tally.wrong} wrong"
    )


def _broken_lines(log: IO[bytes]) -> list[str]:
    """What the server logged as an error, or not as it should."""
    log.seek(0)
    found = []
    for line in (line.decode(errors="replace").strip() for line in log):
        said = json.loads(line) if line.startswith("{") else {"level": "error", "message": line}
        if said["level"] in ("error", "critical"):
            found.append(": ".join([said["message"], *said.get("traceback", "").splitlines()[-1:]]))
    return found


def _answered(load: Load) -> Iterator[Finding]:
    """What was answered wrong."""
    statuses, tally = load.tally.all_statuses(), load.tally
    broken = {status: number for status, number in statuses.items() if status in SERVER_ERRORS and status != 503}
    yield Finding("5xx other than 503", not broken, f"{broken or 'none'} of {statuses.total():,} answers")
    lost = statuses[NO_ANSWER]
    yield Finding("requests without an answer", fine=not lost, told=str(lost))
    told = "; ".join(tally.problems[:5])[:1500] or "none"
    yield Finding("wrong answers", fine=not tally.wrong, told=f"{tally.wrong}: {told}" if tally.wrong else told)


def _kept(load: Load) -> Iterator[Finding]:
    """Whether all that was acknowledged is there, and all of it is right."""
    data = ["--data", str(load.store)]
    for command in (["check"], ["rebuild", "--dry-run"]):
        name = f"handletime {' '.join(command)}"
        try:
            yield Finding(name, fine=True, told=run([*handletime(), *command, *data]).output.strip().splitlines()[-1])
        except BenchmarkFailed as error:
            yield Finding(name, fine=False, told=str(error))
    run([*handletime(), "export", *data, "--out", str(load.work / "export")])
    said, _ = ask("soak_events", "compare", load.work, load.cutoff or "0")
    fine = not said["missing"] and not said["strange"] and not said["twice"]
    told = (
        f"{said['acknowledged']:,} acknowledged, {said['stored']:,} stored, the others pruned or forgotten; of the "
        f"{said['checked']:,} since the last prune {said['missing']} missing; {said['twice']} twice, "
        f"{said['strange']} that nobody sent"
    )
    yield Finding("acknowledged events", fine, told)


# --- tables


def _flat(samples: Sequence[Sample], seconds: float) -> Section:
    """How the server was over time, in ten parts."""
    files = ("store", "log", "side", "shelf", "sessions", "tmp")
    head = ("minute", "resident", "without files", "descriptors", "threads", *files)
    picked = [samples[round(part * (len(samples) - 1) / 10)] for part in range(11)]
    rows = [
        (
            f"{each.at / 60:.1f}",
            *(f"{size / MIB:,.1f}" for size in (each.resident, each.anonymous)),
            *(f"{number}" for number in (each.descriptors, each.threads)),
            *(f"{size / MIB:,.1f}" for size in each[-len(files) :]),
        )
        for each in picked
    ]
    note = f"Sizes in MiB. The first {warm_up_s(seconds) / 60:.1f} minutes are warm-up; `--memory {MEMORY}`."
    return Section("The server over time", head, rows, note)


def _kinds(load: Load, seconds: float) -> Section:
    """All kinds of requests: how many, how fast, and how fast early and late."""
    rows = []
    for kind in sorted(load.tally.statuses):
        statuses = load.tally.statuses[kind]
        told = ", ".join(f"{status or 'none'}: {number:,}" for status, number in sorted(statuses.items()))
        times = load.tally.seconds(kind)
        early = load.tally.seconds(kind, warm_up_s(seconds), warm_up_s(seconds) + PART * seconds)
        late = load.tally.seconds(kind, (1 - PART) * seconds)
        shown = (_ms(times, 0.5), _ms(times, 0.99), _ms(early, 0.5), _ms(late, 0.5))
        rows.append((kind, f"{statuses.total():,}", *shown, told))
    note = ", ".join(f"{name}: {number:,}" for name, number in sorted(load.done.items()))
    head = ("request", "answers", "p50, ms", "p99, ms", "p50 early", "p50 late", "by status")
    events = f"{load.tally.events:,} events were new, {load.tally.doubles:,} were there already."
    return Section("What was asked", head, rows, f"{events} Beside it: {note}.")


def _ms(times: Sequence[float], share: float) -> str:
    return f"{1000 * times[min(len(times) - 1, int(share * len(times)))]:.1f}" if times else ""


def _verdict(findings: Sequence[Finding], samples: Sequence[Sample], clients_s: float) -> Section:
    rows = [(f"{each.what}: {_short(each.told)}", "fine" if each.fine else "FAILED") for each in findings]
    span = samples[-1].at - samples[0].at
    server = (samples[-1].processor_s - samples[0].processor_s) / span
    note = f"Of one core, the server took {server:.0%}, and the clients with the commands {clients_s / span:.0%}."
    return Section("The verdict", ("", ""), rows, note)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TOLD_MAX else f"{line[:TOLD_MAX]} …"


_BEGAN: Final = time.monotonic()


def _told(what: str) -> None:
    print(f"[{time.monotonic() - _BEGAN:6.1f} s] {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

#!/bin/sh
# A made-up working day, derived, reported and explained. Called by `make demo` with the folder of the commands.
set -eu
handletime="${1:-.venv/bin}/handletime"
demo=demo
mkdir -p "$demo"

say() { printf '\n\033[1m$ handletime %s\033[0m\n' "$*"; }
run() { say "$@"; "$handletime" "$@"; }

if [ ! -e "$demo/.compiled" ]; then
    echo "The first run compiles the derivation, once; that takes about half a minute."
    touch "$demo/.compiled"
fi
run simulate --out "$demo/day.ndjson.gz" --days 1 --conversations 400 --agents 14 --seed 7
run derive "$demo/day.ndjson.gz" --out "$demo/tables" --format csv
run report "$demo/day.ndjson.gz" --by agent

# One conversation that was passed on, with handle time: the segment with the most units of a conversation with several.
conversation=$("${1:-.venv/bin}/python" - "$demo/tables/agent_segments.csv" <<'PYTHON'
import csv, sys
from collections import Counter

with open(sys.argv[1], newline="") as file:
    segments = list(csv.DictReader(file))
several = Counter(segment["conversationId"] for segment in segments)
handled = [s for s in segments if several[s["conversationId"]] == 2 and int(s["totalHandleTimeMillis"])]
print(min(handled, key=lambda s: abs(int(s["agentMessages"]) - 5))["conversationId"])
PYTHON
)
run explain "$demo/day.ndjson.gz" --conversation "$conversation"
printf '\nThe day is in %s/day.ndjson.gz, its tables in %s/tables. README.md goes on from here.\n' "$demo" "$demo"

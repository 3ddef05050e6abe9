#!/bin/sh
# A month of a made-up contact centre, reported, explained and served until Ctrl-C, beside a stub desk to try the focus
# tracker on. Called by `make demo` with the folder of the commands. DEMO_PORT is the port (8080), DEMO_CONVERSATIONS how many a month (9000), DEMO_DIR the folder.
set -eu
bin="${1:-.venv/bin}"
handletime="$bin/handletime"
demo="${DEMO_DIR:-demo}"
port="${DEMO_PORT:-8080}"

say() { printf '\n\033[1m$ handletime %s\033[0m\n' "$*"; }
run() { say "$@"; "$handletime" "$@"; }

if [ ! -e "$demo/.compiled" ]; then
    echo "The first run compiles the derivation, once; that takes about a minute."
fi
"$bin/python" -m handletime.cli.warming
mkdir -p "$demo"
touch "$demo/.compiled"
# A store of an earlier demo ends where that one began. One that is being served is left alone.
"$bin/python" - "$demo/store" <<'PYTHON'
import fcntl, pathlib, shutil, sys

store = pathlib.Path(sys.argv[1])
if (store / "lock").exists():
    with (store / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"the demo is being served already from {store}: stop it there with Ctrl-C")
        shutil.rmtree(store)
PYTHON

run simulate --out "$demo/month.ndjson.gz" --days 30 --conversations "${DEMO_CONVERSATIONS:-9000}" --seed 7
run ingest "$demo/month.ndjson.gz" --data "$demo/store"
yesterday=$("$bin/python" -c 'from datetime import date, timedelta; print(date.today() - timedelta(days=1))')
run report "$demo/month.ndjson.gz" --by agent --from "$yesterday"

say keys create demo --data "$demo/store" --json
new_key() { "$handletime" keys create demo --data "$demo/store" --json "$@"; }
token_of() { printf '%s' "$1" | "$bin/python" -c "import json, sys; print(json.load(sys.stdin)['token'])"; }
key=$(new_key --permission handle-time --permission operations)
token=$(token_of "$key")
echo "a key for account demo (its secrets: $demo/key.json)"
(umask 077 && printf '%s\n' "$key" >"$demo/key.json")

# One conversation of the last day that was passed on, with several handle-time units.
conversation=$("$bin/python" - "$demo/month.ndjson.gz" "$yesterday" <<'PYTHON'
import gzip, json, sys
from collections import defaultdict

events = defaultdict(list)
with gzip.open(sys.argv[1], "rt") as file:
    for line in file:
        event = json.loads(line)
        events[event["conversationId"]].append(event)


def fitness(found):
    kinds = [event["type"] for event in found]
    agents = {event["agentId"] for event in found if event["type"] == "assigned" and event.get("userType") != "bot"}
    recent = found[-1]["time"] >= sys.argv[2]
    return (recent, kinds[-1] == "closed", len(agents) == 2, kinds.count("focused") > 2, -abs(len(found) - 16), found[-1]["time"])


print(max(events, key=lambda conversation: fitness(events[conversation])))
PYTHON
)
run explain "$demo/month.ndjson.gz" --conversation "$conversation"

# Port 0 is any that is free: which one, the server says in its first line.
say serve --data "$demo/store" --port "$port" --labels scripts/demo-labels.csv
: >"$demo/served"  # it is looked into before the server has begun it, and may hold an earlier demo's address
"$handletime" serve --data "$demo/store" --port "$port" --labels "$(dirname "$0")/demo-labels.csv" --log-level warning >"$demo/served" &
server=$!
desk=
trap 'kill -TERM $server $desk 2>/dev/null || :' INT TERM EXIT
# The address that the process $1 says in the file $2, as soon as it does.
address_of() {
    while kill -0 "$1" 2>/dev/null && ! grep -q ' at http' "$2"; do sleep 0.1; done
    if ! kill -0 "$1" 2>/dev/null; then
        wait "$1" || exit $?
    fi
    address=$(sed -n 's/.* at \(http[^ ]*\)$/\1/p' "$2")
}
address_of $server "$demo/served"
url=$address

# You are agent 4001. The desk tells the conversations, the tracker what you look at; each has a key that can do no more.
agent=4001
: >"$demo/desk"
DESK_TOKEN=$(token_of "$(new_key --permission ingest)") "$bin/python" "$(dirname "$0")/desk.py" \
    --server "$url" --account demo --agent $agent >"$demo/desk" &
desk=$!
address_of $desk "$demo/desk"
desk_url=$address
focus_key=$(token_of "$(new_key --permission focus --agent $agent)")
say tracker build --server "$url" --account demo --desk "chatwoot=$desk_url" --key … --out "$demo/tracker"
"$handletime" tracker build --server "$url" --account demo --desk "chatwoot=$desk_url" --key "$focus_key" \
    --out "$demo/tracker" >/dev/null 2>&1  # what it says is for who gives it to everybody
tracker=$(cd "$demo/tracker/chromium" && pwd)
ask="curl -s -H 'Authorization: Bearer $token'"

cat <<TEXT

handletime serves a month of account demo at $url
Open it in a browser, with this key:  $token

  # who handled what in the last 24 hours, with handle time
  $ask '$url/api/account/demo/agent-segments?source=demo&limit=2'

  # outcomes, first response, response time by agent, with totals
  $ask '$url/operations/api/account/demo/msgagentsegments?v=1&timeframe=1440'

  # the same by skill and hour, as a table
  $ask '$url/operations/api/account/demo/msgskillsegments?v=1&timeframe=1440&interval=60&format=csv'

  # why the numbers of one conversation are so
  $ask '$url/api/account/demo/conversations/$conversation/explain'

See your own handle time, in Chromium, Chrome or Edge; you are agent $agent, "You":

  1  Open chrome://extensions, switch on Developer mode, press Load unpacked, and choose the folder
     $tracker
     (If it is there from an earlier demo, press its round arrow instead: its key is new.)
  2  Open the desk at $desk_url
     Click through its three conversations, answer, resolve. The tracker tells which one you look at, and nothing else.
  3  Press Why above a conversation, and sign in with the key above: what you looked at, what of it counts, and why.
     Your sums, of the conversations that you resolved: $url/agents

Ctrl-C stops it.
TEXT
status=0
wait $server || status=$?
kill -TERM $desk 2>/dev/null || :
wait $desk 2>/dev/null || :
trap - INT TERM EXIT
exit $status

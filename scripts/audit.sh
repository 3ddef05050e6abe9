#!/bin/sh
# Are there advisories on what requirements/ pins? Called by `make audit`, before a release, with the folder of pip-audit.
# Ends with 1 where there are, and with 2 where not every package could be looked up: then nothing is known.
set -eu
bin="${1:-.venv/bin}"
found=$(mktemp)
trap 'rm -f "$found" "$found.log"' EXIT
set --
for file in requirements/*.txt; do
    set -- "$@" --requirement "$file"
done
# Strict: a package that the service does not know would count as sound otherwise.
if "$bin/pip-audit" --strict --disable-pip --require-hashes --progress-spinner off --timeout 15 \
    --output "$found" "$@" 2>"$found.log"; then
    echo "No advisories on anything that requirements/ pins."
elif [ -s "$found" ]; then
    cat "$found"
    echo "There are advisories on what requirements/ pins: make lock upgrade=yes, or say in SECURITY.md why one does no harm." >&2
    exit 1
else
    tail -n 1 "$found.log" >&2
    echo "Nothing is known: the advisory service could not be reached, or does not know every package." >&2
    exit 2
fi

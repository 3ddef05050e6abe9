#!/bin/sh
# Is there a key, a token or a password in a file? Called by `make secrets` with the folder of the scanner, for all files
# that git has or would take (without git, for all there are); or for those that are named after the folder. Nothing is
# sent anywhere. Ends with 1 where there is.
#
# A made-up secret that has to stand in a file is let pass by a comment on its line: kingfisher:ignore, and why.
set -eu
bin="$1"
shift

names() {
    if [ $# -gt 0 ]; then
        printf '%s\0' "$@"
    elif [ -e .git ]; then
        git ls-files -z --cached --others --exclude-standard
    else
        find . -type f ! -path './.*/*' -print0
    fi
}

# What is deleted and not yet committed is named too, but not there.
there() { xargs -0 sh -c 'for each; do [ ! -e "$each" ] || printf "%s\0" "$each"; done' there; }

if names "$@" | there | tr '\0' '\n' | grep -E '(^|/)(secret\.key|signing-key\.pem|[^/]*\.sqlite)$'; then
    echo "These hold secrets of a store, or of an extension that was built: remove them, and revoke what was committed." >&2
    exit 1
fi

names "$@" | there | xargs -0 "$bin/kingfisher" scan --quiet --redact --no-validate --no-update-check --git-history none \
    --rules-path scripts/secrets.yml --rule-cache-dir "$bin/../kingfisher" || {
    echo "A secret stands in a file (or the scanner failed). One that was ever committed is known: revoke it." >&2
    exit 1
}

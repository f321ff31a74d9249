#!/usr/bin/env bash
# How fast the portal is, and how much memory it takes: one large upload, then twenty at once while pages are asked for.
#
#   web/bench/load.sh LARGE [SMALL]
#
# LARGE is a capture that is uploaded once; SMALL (LARGE where it is not given) is uploaded twenty times at once. It
# starts a release build of the portal on a free port and in a temporary folder, and takes both away again.
set -euo pipefail

source "$(dirname "$0")/portal.sh"

[[ $# -ge 1 && $# -le 2 ]] || fail "usage: $0 LARGE [SMALL]"
large=$(realpath "$1")
small=$(realpath "${2:-$1}")
[[ -r $large && -r $small ]] || fail "a capture cannot be read"
begin "curl ab cargo awk sed"
session=$(awk '$6 == "veilwatch-session" { print $7 }' "$jar")
[[ -n $session ]] || fail "no session was begun"

field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }

# One large upload, confirmed at once.
started=$(now)
api -T "$large" -X POST "$base/api/v1/entries?confirm=true&name=large" > "$folder/entry"
uploaded=$(now)
key=$(sed -n 's/^{"key":"\([0-9a-f]*\)".*/\1/p' "$folder/entry")
[[ -n $key ]] || fail "no entry: $(cat "$folder/entry")"
while :; do
    api "$base/api/v1/entries/$key" > "$folder/entry"
    state=$(field state < "$folder/entry")
    [[ $state == queued || $state == running ]] || break
    sleep 0.02
done
done=$(now)
[[ $state == "done" ]] || fail "the analysis ended as $state: $(cat "$folder/entry")"
row "one upload of $(megabytes "$large") MB, recognised and kept [s]" "$(minus "$uploaded" "$started")"
row "from then on to the result [s]" "$(minus "$done" "$uploaded")"
row "result [MB]" "$(megabytes "$folder"/data/results/*.sqlite)"
row "peak memory of the server so far [MB]" "$(peak "$server")"

# Twenty at once, while somebody turns pages.
started=$(now)
uploads=()
for at in $(seq 20); do
    api -T "$small" -X POST "$base/api/v1/entries?confirm=true&name=small-$at" > "$folder/upload-$at" &
    uploads+=($!)
done
ab -q -l -t 3600 -n 200000 -c 2 -C "veilwatch-session=$session" "$base/" > "$folder/ab" 2>&1 &
pages=$!
for upload in "${uploads[@]}"; do wait "$upload" || fail "an upload failed: $(cat "$folder"/upload-*)"; done
uploaded=$(now)
while :; do
    api "$base/api/v1/entries?limit=1&state=queued" > "$folder/queued"
    api "$base/api/v1/entries?limit=1&state=running" > "$folder/running"
    [[ $(field total < "$folder/queued") == 0 && $(field total < "$folder/running") == 0 ]] && break
    sleep 0.2
done
done=$(now)
kill -INT "$pages"; wait "$pages" || true
all=$(api "$base/api/v1/entries?limit=1&state=done" | field total)
row "20 uploads at once of $(megabytes "$small") MB, until all are kept [s]" "$(minus "$uploaded" "$started")"
row "from then on until all are done [s]" "$(minus "$done" "$uploaded")"
row "of them done" "$((all - 1))"
row "pages asked for meanwhile" "$(awk '/^Complete requests/ { print $3 }' "$folder/ab")"
row "  of them failed" "$(awk '/^Failed requests/ { failed = $3 } /^Non-2xx/ { other = $3 } END { print failed + other }' "$folder/ab")"
row "  half of them within [ms]" "$(awk '$1 == "50%" { print $2 }' "$folder/ab")"
row "  99 of 100 within [ms]" "$(awk '$1 == "99%" { print $2 }' "$folder/ab")"
row "peak memory of the server [MB]" "$(peak "$server")"
[[ $all == 21 ]] || fail "of 21 analyses $all are done"

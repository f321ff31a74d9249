#!/usr/bin/env bash
# How fast the table of flows of a large result is, for ten people at the same time.
#
#   web/bench/flows.sh CAPTURE
#
# It starts a release build of the portal on a free port and in a temporary folder, uploads the capture, has it analysed, and
# takes both away again. `ab` asks for every kind of page two hundred times, ten at once, of one account.
set -euo pipefail

source "$(dirname "$0")/portal.sh"

[[ $# -eq 1 ]] || fail "usage: $0 CAPTURE"
capture=$(realpath "$1")
[[ -r $capture ]] || fail "the capture cannot be read"
begin "curl cargo awk sed ab"

started=$(now)
api -T "$capture" -X POST "$base/api/v1/entries?name=large&confirm=true" > "$folder/entry"
key=$(sed -n 's/^{"key":"\([0-9a-f]*\)".*/\1/p' "$folder/entry")
[[ -n $key ]] || fail "no entry: $(cat "$folder/entry")"
until api "$base/api/v1/entries/$key" > "$folder/entry" && grep -q '"state":"\(done\|failed\)"' "$folder/entry"; do sleep 0.5; done
grep -q '"state":"done"' "$folder/entry" || fail "not analysed: $(cat "$folder/entry")"
row "from the upload to the result [s]" "$(minus "$(now)" "$started")"
row "result [MB]" "$(megabytes "$folder"/data/results/*)"
cookie=$(awk '$6 ~ /session/ { print $6 "=" $7 }' "$jar")

# One kind of page: half within, 99 of 100 within, in milliseconds.
table() { # words, query
    curl -sS -b "$jar" "$base/entries/$key/flows?$2" > "$folder/page"
    local count
    count=$(sed -n 's/.*<p class="dim" role="status">\([0-9,]*\) flows.*/\1/p' "$folder/page")
    ab -q -n 200 -c 10 -C "$cookie" -e "$folder/times" "$base/entries/$key/flows?$2" > "$folder/ab" 2>&1 || fail "ab: $(tail -n 1 "$folder/ab")"
    ! grep -q 'Non-2xx' "$folder/ab" || fail "$1: pages failed"
    row "$1 (${count:-more than could be counted})" "$(awk -F, '$1 == 50 || $1 == 99 { printf "%.0f ", $2 }' "$folder/times")"
}
row "flows, ten people: half and 99 of 100 within" "[ms]"
table "as they were judged" ""
table "in the middle of them" "offset=500000"
table "at their end" "offset=999900"
for by in time score bytes packets source server sni; do table "by $by, the largest first" "sort=$by&down=true"; done
table "by bytes, in the middle" "sort=bytes&down=true&offset=500000"
table "benign, by score" "verdict=benign&sort=score"
table "not judged" "verdict=not-scored"
table "alerts" "verdict=alerts&sort=score&down=true"
host=$(sed -n 's/.*<td>\([0-9.]*\):[0-9]*<\/td>.*/\1/p' "$folder/page" | head -n 1)
table "of one host" "host=${host:-10.0.0.1}&sort=score&down=true"
table "searched for a name" "search=example1234"
table "searched for a port" "search=4500"

whole ""
started=$(now)
page "?where=ml.score%20%3E%200.5" > "$folder/time"
grep -q '^200 ' "$folder/time" || fail "packets by verdicts: $(cat "$folder/time")"
row "packets by their flow's score: the first answer [s]" "$(minus "$(now)" "$started")"
whole "?where=ml.score%20%3E%200.5"
grep -q 'id="found"[^>]*>[^<]*Packets found: ' "$folder/page" || fail "packets by verdicts: no answer"
row "from the question until all are looked at [s]" "$(minus "$(now)" "$started")"
row "peak memory of the server [MB]" "$(peak "$server")"

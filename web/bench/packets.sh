#!/usr/bin/env bash
# How fast packets of a large capture are looked at, and how much memory their reader takes.
#
#   web/bench/packets.sh CAPTURE
#
# It starts a release build of the portal on a free port and in a temporary folder, uploads the capture, and takes both away
# again. Nothing is analysed: a reader needs no result.
set -euo pipefail

source "$(dirname "$0")/portal.sh"

[[ $# -eq 1 ]] || fail "usage: $0 CAPTURE"
capture=$(realpath "$1")
[[ -r $capture ]] || fail "the capture cannot be read"
begin "curl cargo awk sed pgrep" VEILWATCH_WEB_BROWSE__IDLE_SECONDS=5

api -T "$capture" -X POST "$base/api/v1/entries?name=large" > "$folder/entry"
key=$(sed -n 's/^{"key":"\([0-9a-f]*\)".*/\1/p' "$folder/entry")
[[ -n $key ]] || fail "no entry: $(cat "$folder/entry")"

# Pages in milliseconds: half of them within, and the slowest.
pages() { # words, addresses on standard input
    local address
    while read -r address; do page "$address"; done > "$folder/times"
    ! grep -qv '^200 ' "$folder/times" || fail "$1: $(grep -v '^200 ' "$folder/times" | head -n 1)"
    row "$1: half within, the slowest [ms]" \
        "$(awk '{ print $2 * 1000 }' "$folder/times" | sort -n | awk '{ all[NR] = $1 } END { printf "%.0f %.0f", all[int((NR + 1) / 2)], all[NR] }')"
}

started=$(now)
page "" > "$folder/time"
row "the first page [s]" "$(awk '{ print $2 }' "$folder/time")"
whole ""
row "from then on until all of it is read [s]" "$(minus "$(now)" "$started")"
packets=$(sed -n 's/.*>Packets: \([0-9,]*\)<.*/\1/p' "$folder/page" | tr -d ,)
row "packets" "$packets"
some() { awk -v all="$packets" 'BEGIN { srand(1); for (i = 0; i < 60; i++) printf "%d\n", 1 + rand() * all }'; }
some | sed 's/^/?at=/' | pages "a list with a packet in full, anywhere"
some | sed 's/\(.*\)/?flow=\1\&at=\1/' | pages "packets of one flow"
# Not every packet is of a flow.
some | while read -r number; do
    page "?at=$number" > "$folder/time"
    if grep -q "/$number/stream\"" "$folder/page"; then echo "/$number/stream"; fi
done > "$folder/streams"
pages "what both sides said" < "$folder/streams"
started=$(now)
whole "?where=tls.handshake.type%20%3D%3D%201"
row "a filter over all of it [s]" "$(minus "$(now)" "$started")"
reader=$(pgrep -P "$server" -f worker)
row "peak memory of the reader [MB]" "$(peak "$reader")"
while pgrep -P "$server" -f worker > /dev/null; do sleep 0.5; done
sleep 1
row "index [MB]" "$(megabytes "$folder"/data/indexes/*)"
page "?at=$packets" > "$folder/time"
grep -q 'being read' "$folder/page" && fail "the index was not used"
row "the first page with the index that was kept [s]" "$(awk '{ print $2 }' "$folder/time")"
row "peak memory of the server [MB]" "$(peak "$server")"

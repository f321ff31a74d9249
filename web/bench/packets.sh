#!/usr/bin/env bash
# How fast packets of a large capture are looked at, and how much memory their reader takes.
#
#   web/bench/packets.sh CAPTURE
#
# It starts a release build of the portal on a free port and in a temporary folder, uploads the capture, and takes both away
# again. Nothing is analysed: a reader needs no result.
set -euo pipefail

fail() { echo "packets.sh: $*" >&2; exit 2; }

[[ $# -eq 1 ]] || fail "usage: $0 CAPTURE"
capture=$(realpath "$1")
[[ -r $capture ]] || fail "the capture cannot be read"
for tool in curl cargo awk sed pgrep; do
    command -v "$tool" > /dev/null || fail "$tool is missing: apt-get install curl gawk sed procps, and Rust from rustup.rs"
done

cd "$(dirname "$0")/../.."
cargo build --quiet --release -p veilwatch-web
program=${CARGO_TARGET_DIR:-target}/release/veilwatch-web
folder=$(mktemp -d)
server=
finish() {
    if [[ -n $server ]]; then kill "$server" 2> /dev/null || true; wait "$server" 2> /dev/null || true; fi
    rm -rf "$folder"
}
trap finish EXIT

port=$((20000 + RANDOM % 20000))
base=http://127.0.0.1:$port
VEILWATCH_WEB_DATA=$folder/data VEILWATCH_WEB_ADDRESS=127.0.0.1:$port VEILWATCH_WEB_BROWSE__IDLE_SECONDS=5 \
    "$program" > "$folder/out" 2> "$folder/log" &
server=$!
for _ in $(seq 100); do grep -q token= "$folder/out" && break; sleep 0.1; done
setup=$(sed -n 's/.*token=//p' "$folder/out")
[[ -n $setup ]] || fail "the portal did not start: $(tail -n 1 "$folder/log")"

jar=$folder/cookies
form() { # page, action, fields…
    local page=$1 action=$2 csrf; shift 2
    csrf=$(curl -sS -b "$jar" -c "$jar" "$base$page" | sed -n 's/.*name="csrf" value="\([^"]*\)".*/\1/p' | head -n 1)
    curl -sS -b "$jar" -c "$jar" --data-urlencode "csrf=$csrf" "$@" "$base$action"
}
form "/setup?token=$setup" /setup --data-urlencode "token=$setup" -d name=load -d display_name=load \
    --data-urlencode "password=otter lamp river tin" --data-urlencode "again=otter lamp river tin" > "$folder/page"
form /account /account/tokens -d label=load -d scope=write -d days=1 > "$folder/page"
token=$(sed -n 's/.*\(vwp_[A-Za-z0-9_-]*\).*/\1/p' "$folder/page" | head -n 1)
[[ -n $token ]] || fail "no API token was made"
curl -sS --fail-with-body -H "Authorization: Bearer $token" -T "$capture" -X POST "$base/api/v1/entries?name=large" > "$folder/entry"
key=$(sed -n 's/^{"key":"\([0-9a-f]*\)".*/\1/p' "$folder/entry")
[[ -n $key ]] || fail "no entry: $(cat "$folder/entry")"

now() { date +%s.%N; }
minus() { awk "BEGIN { printf \"%.2f\", $1 - $2 }"; }
row() { printf '%-58s %12s\n' "$@"; }
page() { curl -sS -b "$jar" -o "$folder/page" -w '%{http_code} %{time_total}\n' "$base/entries/$key/packets$1"; }
# Pages in milliseconds: half of them within, and the slowest.
pages() { # words, addresses on standard input
    local address
    while read -r address; do page "$address"; done > "$folder/times"
    ! grep -qv '^200 ' "$folder/times" || fail "$1: $(grep -v '^200 ' "$folder/times" | head -n 1)"
    row "$1: half within, the slowest [ms]" \
        "$(awk '{ print $2 * 1000 }' "$folder/times" | sort -n | awk '{ all[NR] = $1 } END { printf "%.0f %.0f", all[int((NR + 1) / 2)], all[NR] }')"
}
whole() { # address
    while :; do page "$1" > "$folder/time"; grep -q 'being read\|so far: ' "$folder/page" || break; sleep 0.1; done
}

begin=$(now)
page "" > "$folder/time"
row "the first page [s]" "$(awk '{ print $2 }' "$folder/time")"
whole ""
row "from then on until all of it is read [s]" "$(minus "$(now)" "$begin")"
packets=$(sed -n 's/.*>Packets: \([0-9,]*\)<.*/\1/p' "$folder/page" | tr -d ,)
row "packets" "$packets"
some() { awk -v all="$packets" 'BEGIN { srand(1); for (i = 0; i < 60; i++) printf "%d\n", 1 + rand() * all }'; }
some | sed 's/^/?at=/' | pages "a list with a packet in full, anywhere"
some | sed 's/\(.*\)/?flow=\1\&at=\1/' | pages "packets of one flow"
some | sed 's|\(.*\)|/\1/stream|' | pages "what both sides said"
begin=$(now)
whole "?where=tls.handshake.type%20%3D%3D%201"
row "a filter over all of it [s]" "$(minus "$(now)" "$begin")"
reader=$(pgrep -P "$server" -f worker)
row "peak memory of the reader [MB]" "$(awk '/VmHWM/ { printf "%.0f", $2 / 1024 }' "/proc/$reader/status")"
while pgrep -P "$server" -f worker > /dev/null; do sleep 0.5; done
sleep 1
row "index [MB]" "$(awk "BEGIN { printf \"%.1f\", $(stat -c %s "$folder"/data/indexes/*) / 1e6 }")"
page "?at=$packets" > "$folder/time"
grep -q 'being read' "$folder/page" && fail "the index was not used"
row "the first page with the index that was kept [s]" "$(awk '{ print $2 }' "$folder/time")"
row "peak memory of the server [MB]" "$(awk '/VmHWM/ { printf "%.0f", $2 / 1024 }' "/proc/$server/status")"

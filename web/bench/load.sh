#!/usr/bin/env bash
# How fast the portal is, and how much memory it takes: one large upload, then twenty at once while pages are asked for.
#
#   web/bench/load.sh LARGE [SMALL]
#
# LARGE is a capture that is uploaded once; SMALL (LARGE where it is not given) is uploaded twenty times at once. It
# starts a release build of the portal on a free port and in a temporary folder, and takes both away again.
set -euo pipefail

fail() { echo "load.sh: $*" >&2; exit 2; }

[[ $# -ge 1 && $# -le 2 ]] || fail "usage: $0 LARGE [SMALL]"
large=$(realpath "$1")
small=$(realpath "${2:-$1}")
[[ -r $large && -r $small ]] || fail "a capture cannot be read"
for tool in curl ab cargo awk sed; do
    command -v "$tool" > /dev/null || fail "$tool is missing: apt-get install curl apache2-utils gawk sed, and Rust from rustup.rs"
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
VEILWATCH_WEB_DATA=$folder/data VEILWATCH_WEB_ADDRESS=127.0.0.1:$port \
    "$program" > "$folder/out" 2> "$folder/log" &
server=$!
for _ in $(seq 100); do grep -q token= "$folder/out" && break; sleep 0.1; done
setup=$(sed -n 's/.*token=//p' "$folder/out")
[[ -n $setup ]] || fail "the portal did not start: $(tail -n 1 "$folder/log")"

# Somebody with a browser and an API token.
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
session=$(awk '$6 == "veilwatch-session" { print $7 }' "$jar")
[[ -n $session ]] || fail "no session was begun"

api() { curl -sS --fail-with-body -H "Authorization: Bearer $token" "$@"; }
now() { date +%s.%N; }
minus() { awk "BEGIN { printf \"%.2f\", $1 - $2 }"; }
field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }
peak() { awk '/VmHWM/ { printf "%.0f", $2 / 1024 }' "/proc/$server/status"; }
megabytes() { awk "BEGIN { printf \"%.1f\", $(stat -c %s "$1") / 1e6 }"; }
row() { printf '%-58s %12s\n' "$@"; }

# One large upload, confirmed at once.
begin=$(now)
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
row "one upload of $(megabytes "$large") MB, recognised and kept [s]" "$(minus "$uploaded" "$begin")"
row "from then on to the result [s]" "$(minus "$done" "$uploaded")"
row "result [MB]" "$(awk "BEGIN { printf \"%.1f\", $(stat -c %s "$folder"/data/results/*.sqlite) / 1e6 }")"
row "peak memory of the server so far [MB]" "$(peak)"

# Twenty at once, while somebody turns pages.
begin=$(now)
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
row "20 uploads at once of $(megabytes "$small") MB, until all are kept [s]" "$(minus "$uploaded" "$begin")"
row "from then on until all are done [s]" "$(minus "$done" "$uploaded")"
row "of them done" "$((all - 1))"
row "pages asked for meanwhile" "$(awk '/^Complete requests/ { print $3 }' "$folder/ab")"
row "  of them failed" "$(awk '/^Failed requests/ { failed = $3 } /^Non-2xx/ { other = $3 } END { print failed + other }' "$folder/ab")"
row "  half of them within [ms]" "$(awk '$1 == "50%" { print $2 }' "$folder/ab")"
row "  99 of 100 within [ms]" "$(awk '$1 == "99%" { print $2 }' "$folder/ab")"
row "peak memory of the server [MB]" "$(peak)"
[[ $all == 21 ]] || fail "of 21 analyses $all are done"

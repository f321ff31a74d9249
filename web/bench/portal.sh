# What the benchmarks of the portal have in common; they source it, with the tools that they need and the environment of the
# server: `begin TOOLS ENVIRONMENT…` builds the portal, starts it on a free port and in a temporary folder, and makes an
# account with a browser and an API token. All is taken away again at the end.

fail() { echo "$(basename "$0"): $*" >&2; exit 2; }
now() { date +%s.%N; }
minus() { awk "BEGIN { printf \"%.2f\", $1 - $2 }"; }
row() { printf '%-58s %12s\n' "$@"; }
# Peak memory of a process in megabytes.
peak() { awk '/VmHWM/ { printf "%.0f", $2 / 1024 }' "/proc/$1/status"; }
megabytes() { awk "BEGIN { printf \"%.1f\", $(stat -c %s "$1") / 1e6 }"; }

server=
finish() {
    if [[ -n $server ]]; then kill "$server" 2> /dev/null || true; wait "$server" 2> /dev/null || true; fi
    rm -rf "$folder"
}

# A form of a page, with the fields that follow.
form() { # page, action, fields…
    local page=$1 action=$2 csrf; shift 2
    csrf=$(curl -sS -b "$jar" -c "$jar" "$base$page" | sed -n 's/.*name="csrf" value="\([^"]*\)".*/\1/p' | head -n 1)
    curl -sS -b "$jar" -c "$jar" --data-urlencode "csrf=$csrf" "$@" "$base$action"
}
api() { curl -sS --fail-with-body -H "Authorization: Bearer $token" "$@"; }

# A page of packets of the entry $key, with its status and how long it took in seconds.
page() { # address
    curl -sS -b "$jar" -o "$folder/page" -w '%{http_code} %{time_total}\n' "$base/entries/$key/packets$1"
}
# The same once all of the capture is read, and all of it searched.
whole() { # address
    while :; do page "$1" > "$folder/time"; grep -q 'being read\|so far: ' "$folder/page" || break; sleep 0.1; done
}

begin() { # tools, environment…
    local tool setup
    for tool in $1; do
        command -v "$tool" > /dev/null || fail "$tool is missing: apt-get install curl apache2-utils gawk sed procps, and Rust from rustup.rs"
    done
    shift
    cd "$(dirname "$0")/../.."
    cargo build --quiet --release -p veilwatch-web
    folder=$(mktemp -d)
    trap finish EXIT
    jar=$folder/cookies
    local port=$((20000 + RANDOM % 20000))
    base=http://127.0.0.1:$port
    env VEILWATCH_WEB_DATA="$folder/data" VEILWATCH_WEB_ADDRESS="127.0.0.1:$port" "$@" \
        "${CARGO_TARGET_DIR:-target}/release/veilwatch-web" > "$folder/out" 2> "$folder/log" &
    server=$!
    for _ in $(seq 100); do grep -q token= "$folder/out" && break; sleep 0.1; done
    setup=$(sed -n 's/.*token=//p' "$folder/out")
    [[ -n $setup ]] || fail "the portal did not start: $(tail -n 1 "$folder/log")"
    form "/setup?token=$setup" /setup --data-urlencode "token=$setup" -d name=load -d display_name=load \
        --data-urlencode "password=otter lamp river tin" --data-urlencode "again=otter lamp river tin" > "$folder/page"
    form /account /account/tokens -d label=load -d scope=write -d days=1 > "$folder/page"
    token=$(sed -n 's/.*\(vwp_[A-Za-z0-9_-]*\).*/\1/p' "$folder/page" | head -n 1)
    [[ -n $token ]] || fail "no API token was made"
}

#!/usr/bin/env bash
# Looks at the captures with tshark and holds them against LABELS.csv.
#
#   ./check.sh [FOLDER_WITH_CAPTURES]
#
# With the path of the program in VEILWATCH it also prints what the program says
# of each labelled pair of client and server.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
in=${1:-$here}
command -v tshark >/dev/null || { echo "check.sh: missing Debian package: tshark" >&2; exit 1; }
fail=0
list=$(mktemp)
trap 'rm -f "$list"' EXIT
verdicts() { python3 -c '
import collections, json, sys
flows = collections.defaultdict(list)
for line in map(json.loads, sys.stdin):
    if "tls" in line:
        flows["%(src_ip)s,%(dest_ip)s,%(dest_port)s" % line].append((line["score"], line["verdict"]))
for row in open(sys.argv[1]):
    capture, client, server, port, label, _ = row.rstrip().split(",", 5)
    seen = flows.get(",".join((client, server, port)), [])
    if capture == sys.argv[2] and seen:
        counts = collections.Counter(verdict for _, verdict in seen)
        print("   %s -> %s:%s is %s; flows called %s; scores %.3f to %.3f" % (client, server, port, label,
              ", ".join("%s: %d" % pair for pair in counts.items()), min(seen)[0], max(seen)[0]))
' "$here/LABELS.csv" "$1"; }
shark() { tshark -n -r "$@" 2>/dev/null; }

for f in benign-office.pcapng benign-odd.pcap malicious-beacon-tls12.pcap malicious-beacon-tls13.pcap first-run.pcap mqtt-sensors.pcap ssh-greeting.pcap; do
  echo "== $f ($(stat -c %s "$in/$f") bytes)"
  # One line for each (client, server, port): flows, names. What is labelled begins with a ClientHello or a CONNECT.
  shark "$in/$f" -Y 'tls.handshake.type == 1 || mqtt.msgtype == 1' -T fields -E separator='|' \
    -e ip.src -e ip.dst -e tcp.dstport -e tls.handshake.extensions_server_name |
    awk -F'|' '{ k = $1 "," $2 "," $3; n[k]++; name[k] = $4 } END { for (k in n) print k "," n[k] "," (name[k] == "" ? "-" : name[k]) }' |
    sort >"$list"
  column -t -s, "$list"
  echo "   labelled flows: $(awk -F, '{ s += $4 } END { print s + 0 }' "$list")"
  echo "   chosen versions: $(shark "$in/$f" -Y 'tls.handshake.type == 2' -T fields -e tls.handshake.version -e tls.handshake.extensions.supported_version |
    awk '{ v[$NF]++ } END { for (x in v) printf "%s x%d  ", x, v[x] }')"
  echo "   certificate messages in the clear: $(shark "$in/$f" -Y 'tls.handshake.type == 11' | wc -l), DNS: $(shark "$in/$f" -Y dns | wc -l), ICMP: $(shark "$in/$f" -Y icmp | wc -l), plain HTTP: $(shark "$in/$f" -Y http.request | wc -l)"
  if ! diff <(cut -d, -f1-3 "$list" | sort) <(awk -F, -v f="$f" '$1 == f { print $2 "," $3 "," $4 }' "$here/LABELS.csv" | sort); then
    echo "   NOT as in LABELS.csv"; fail=1
  fi
  shark "$in/$f" -Y ssh.protocol -T fields -e ip.src -e ssh.protocol | sed 's/^/   SSH greeting of /'
  [ -z "${VEILWATCH:-}" ] || { "$VEILWATCH" detect "$in/$f" --all --format jsonl || true; } | verdicts "$f"
done
# Written, not recorded: the script gives the same bytes everywhere.
written=$(mktemp)
python3 "$here/ssh.py" "$written"
cmp "$written" "$in/ssh-greeting.pcap" || { echo "   ssh-greeting.pcap is NOT what ssh.py writes"; fail=1; }
rm -f "$written"
exit $fail

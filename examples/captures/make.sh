#!/usr/bin/env bash
# Makes the example captures: real TLS between real endpoints, in network
# namespaces of this machine only.  Takes about four minutes.  Needs root.
#
#   sudo ./make.sh [OUTPUT_FOLDER [SCENE...]]
#
# A scene is office, odd, tls12, tls13, first, mqtt or ssh; without one, all are made.
# `ssh` is written and not recorded: alone, it needs neither root nor time.
set -euo pipefail
export PYTHONWARNINGS=ignore   # Python warns about the old TLS of the malicious servers

here=$(cd "$(dirname "$0")" && pwd)
out=$(mkdir -p "${1:-$here}" && cd "${1:-$here}" && pwd)
scenes=("${@:2}")
[ ${#scenes[@]} != 0 ] || scenes=(office odd tls12 tls13 first mqtt ssh)
wanted() { [[ " ${scenes[*]} " == *" $1 "* ]]; }

if wanted ssh; then
  python3 "$here/ssh.py" "$out/ssh-greeting.pcap"
  recorded=()
  for s in "${scenes[@]}"; do [ "$s" = ssh ] || recorded+=("$s"); done
  scenes=("${recorded[@]}")
  [ ${#scenes[@]} != 0 ] || { echo "make.sh: wrote ssh-greeting.pcap"; exit 0; }
fi

[ "$(id -u)" = 0 ] || { echo "make.sh: must be run as root (network namespaces need it)" >&2; exit 1; }
missing=()
for pair in ip:iproute2 tcpdump:tcpdump openssl:openssl curl:curl python3:python3 \
            ethtool:ethtool nginx:nginx-light ping:iputils-ping editcap:wireshark-common; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
ldconfig -p | grep -q libgnutls.so.30 || missing+=(libgnutls30)
[ ${#missing[@]} = 0 ] || { echo "make.sh: missing Debian packages: ${missing[*]}" >&2; exit 1; }

work=$(mktemp -d)          # keys and certificates live here and go when we go
chmod 700 "$work"
tag=vw$$                   # our own namespaces only: no other name is touched
spaces=() pids=() etc_netns=()

cleanup() {
  trap - EXIT INT TERM
  local p s
  for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
  for s in "${spaces[@]}"; do
    # Whatever still runs in a namespace of ours was started by us.
    for p in $(ip netns pids "$s" 2>/dev/null); do kill "$p" 2>/dev/null || true; done
    ip netns del "$s" 2>/dev/null || true
  done
  for s in "${etc_netns[@]}"; do rm -rf "/etc/netns/$s"; done
  rmdir /etc/netns 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---------------------------------------------------------------- certificates

subject() { printf '/C=GB/ST=England/L=%s/O=%s/CN=%s' "$1" "$2" "$3"; }
rsa() { openssl genpkey -algorithm RSA -pkeyopt "rsa_keygen_bits:${2:-2048}" -out "$1" 2>/dev/null; }
ecc() { openssl genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:$2" -out "$1" 2>/dev/null; }

# issue KEY SUBJECT ISSUER DAYS EXTENSIONS -> KEY with .crt
issue() {
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA "$3.crt" -CAkey "$3.key" -days "$4" -sha256 \
    -set_serial "0x$(openssl rand -hex 16)" -extfile <(printf '%s\n' "$5") -out "$1.crt" 2>/dev/null
}

make_ca() {
  local c=$work/ca kind n
  mkdir -p "$c"
  ecc "$c/root.key" P-384
  openssl req -x509 -new -key "$c/root.key" -days 7300 -sha256 -out "$c/root.crt" \
    -subj "/C=GB/O=Lantern Trust Services Ltd/CN=Lantern Root CA E1"
  rsa "$c/rsa.key"
  ecc "$c/ecc.key" P-256
  for kind in rsa ecc; do
    n=$(tr a-z A-Z <<<"$kind")
    issue "$c/$kind" "/C=GB/O=Lantern Trust Services Ltd/CN=Lantern TLS $n CA 1" "$c/root" 1825 \
"basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=critical,digitalSignature,keyCertSign,cRLSign
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
crlDistributionPoints=URI:http://crl.lantern-trust.example/root-e1.crl"
  done
}

# name, address, key, TLS versions, town, organisation
sites="\
www.northfield-news.example 203.0.113.10 ecc TLSv1.2,TLSv1.3 Leeds Northfield_News_Ltd
cdn.pebble-static.example 198.51.100.21 ecc TLSv1.2,TLSv1.3 London Pebble_Static_Ltd
mail.brightpost.example 203.0.113.35 rsa TLSv1.2,TLSv1.3 Bristol Brightpost_Mail_plc
intranet.meadow-office.test 10.20.0.15 rsa TLSv1.2 York Meadow_Office_Supplies_Ltd
api.ledgerly.example 192.0.2.44 ecc TLSv1.2,TLSv1.3 Cambridge Ledgerly_Accounts_Ltd
files.harbour-docs.example 198.51.100.60 rsa TLSv1.2,TLSv1.3 Hull Harbour_Documents_Ltd
weather.skylark.example 203.0.113.80 rsa TLSv1.2 Exeter Skylark_Weather_Office
update.orchard-agent.example 192.0.2.90 ecc TLSv1.2,TLSv1.3 Norwich Orchard_Software_Ltd
status.fennel-monitor.example 198.51.100.90 ecc TLSv1.2 Reading Fennel_Monitoring_Ltd"

make_sites() {
  local name address kind tls town org k
  mkdir -p "$work/sites"
  while read -r name address kind tls town org; do
    k=$work/sites/$name
    if [ "$kind" = rsa ]; then rsa "$k.key"; else ecc "$k.key" P-256; fi
    issue "$k" "$(subject "$town" "${org//_/ }" "$name")" "$work/ca/$kind" 365 \
"basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature$([ "$kind" = rsa ] && echo ,keyEncipherment)
extendedKeyUsage=serverAuth,clientAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
subjectAltName=DNS:$name,DNS:${name#*.}
authorityInfoAccess=OCSP;URI:http://ocsp.lantern-trust.example
certificatePolicies=2.23.140.1.2.2"
    cat "$k.crt" "$work/ca/$kind.crt" >"$k.pem"
    echo "$address $name" >>"$work/hosts"
  done <<<"$sites"
}

# self_signed FILE SUBJECT DAYS BITS
self_signed() {
  rsa "$1.key" "$4"
  openssl req -x509 -new -key "$1.key" -subj "$2" -days "$3" -sha256 -out "$1.pem"
}

# c2_certificate FILE SUBJECT DAYS AGE_IN_DAYS DIGEST: self-signed too, but with
# a start in the past and with a serial of 8 bytes, as old tools made them.
c2_certificate() {
  local d=$1.ca start
  mkdir -p "$d"
  rsa "$1.key" 2048
  openssl req -new -key "$1.key" -subj "$2" -out "$d/csr"
  touch "$d/index"
  openssl rand -hex 8 | sed 's/^0/8/' >"$d/serial"
  {
    printf '%s\n' "[ca]" "default_ca=self" "[self]" "database=$d/index" "serial=$d/serial" "new_certs_dir=$d" \
      "default_md=$5" "policy=any" "preserve=yes" "[any]"
    printf '%s=optional\n' countryName stateOrProvinceName localityName organizationName organizationalUnitName commonName
    printf '%s\n' "[extensions]" subjectKeyIdentifier=hash authorityKeyIdentifier=keyid,issuer basicConstraints=CA:TRUE
  } >"$d/cnf"
  start=$(date -u -d "-$4 days -$((RANDOM % 86400)) seconds" '+%Y-%m-%d %H:%M:%S')
  openssl ca -batch -notext -config "$d/cnf" -extensions extensions -selfsign -keyfile "$1.key" -in "$d/csr" -out "$1.pem" \
    -startdate "$(date -u -d "$start" +%Y%m%d%H%M%SZ)" -enddate "$(date -u -d "$start $3 days" +%Y%m%d%H%M%SZ)" \
    2>>"$work/log"
}

# Two or more invented words, as the makers of such certificates use them.
words() {
  python3 - "$1" <<'PY'
import random, sys
def word():
    return "".join(random.choice("bcdfghjklmnprstvwxz") + random.choice("aeiou") for _ in range(random.randint(2, 4)))
print(" ".join(word().capitalize() for _ in range(int(sys.argv[1]))))
PY
}

# ---------------------------------------------------------------- namespaces

# Every scene has a server side, a local network with a tap, and one or two hosts:
#   host -- bridge -- [tap] edge -- wire.py (delay) -- server side
space() { ip netns add "$1"; spaces+=("$1"); ip -n "$1" link set lo up
          ip netns exec "$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 2>/dev/null || true; }
# Packets must look as on a wire: no merging or splitting by the (virtual) card.
plain() { ip netns exec "$1" ethtool -K "$2" tso off gso off gro off tx off rx off sg off >/dev/null 2>&1 || true
          ip -n "$1" link set "$2" up; }
cable() { ip -n "$1" link add "$2" address "$3" type veth peer name "$5" address "$6" netns "$4"; plain "$1" "$2"; plain "$4" "$5"; }

scene() {                                  # scene NAME HOST_ADDRESS...
  local s=$1 n=0 host address; shift
  local lan=$tag-$s-lan srv=$tag-$s-srv
  space "$lan"; space "$srv"
  ip -n "$lan" link add br0 type bridge
  ip -n "$lan" link set br0 up
  cable "$lan" edge 02:56:00:00:00:01 "$lan" edgew 02:56:00:00:00:02
  cable "$lan" far 02:56:00:00:00:03 "$srv" eth0 02:1c:73:aa:00:01
  ip -n "$lan" link set edge master br0
  ip -n "$srv" addr add 192.168.56.1/24 dev eth0
  for address in 192.168.56.20 $(cut -d' ' -f2 <<<"$sites") $(more_addresses "$s"); do
    ip -n "$srv" addr add "$address/32" dev eth0
  done
  for address in "$@"; do
    n=$((n + 1)); host=$tag-$s-h$n
    space "$host"
    cable "$lan" "p$n" "02:56:00:00:01:0$n" "$host" eth0 "02:d8:61:00:00:1$n"
    ip -n "$lan" link set "p$n" master br0
    ip -n "$host" addr add "$address/24" dev eth0
    ip -n "$host" route add default via 192.168.56.1
    # The hosts are Windows-like in what does not depend on the program.
    ip netns exec "$host" sysctl -qw net.ipv4.ip_default_ttl=128 net.ipv4.tcp_timestamps=0 \
      net.ipv4.ip_local_port_range="49152 65535"
    mkdir -p "/etc/netns/$host"; etc_netns+=("$host")
    echo "nameserver 192.168.56.1" >"/etc/netns/$host/resolv.conf"
  done
  run "$lan" "$here/wire.py" edgew far "${far_away[@]}"
  run "$srv" "$here/dns.py" 192.168.56.1 "$work/hosts"
  web "$s"
}

run() { local ns=$1; shift; ip netns exec "$ns" python3 "$@" >>"$work/log" 2>&1 & pids+=($!); }

# The malicious servers are far away: their round trips in milliseconds.
far_away=(203.0.113.66=204 198.51.100.177=238 198.51.100.203=187 192.0.2.151=221 203.0.113.129=196 192.0.2.222=229)

broker=10.20.0.30                          # where the sensors of the scene mqtt report to

more_addresses() {
  case $1 in
    tls12) echo 203.0.113.66 198.51.100.177 ;;
    tls13) echo 198.51.100.203 192.0.2.151 ;;
    first) echo 203.0.113.129 192.0.2.222 ;;
    mqtt) echo "$broker" ;;
  esac
}

web() {                                    # nginx with all the ordinary sites
  local s=$1 d=$work/web-$1 name address kind tls town org scale=1
  mkdir -p "$d/tmp"
  [ "$s" = first ] && scale=2              # all the captures together must stay small
  {
    echo "user root; worker_processes 1; daemon off; pid $d/pid; error_log $work/log;"
    echo "events { worker_connections 256; }"
    echo "http { access_log off; keepalive_timeout 75; ssl_session_timeout 5m; types { text/html html; text/css css; }"
    for t in client_body proxy fastcgi uwsgi scgi; do echo "${t}_temp_path $d/tmp/$t;"; done
    while read -r name address kind tls town org; do
      python3 "$here/pages.py" "$d/$name" "$name" index.html=$((4200 / scale)) page1.html=1100 \
        page2.html=$((2300 / scale)) page3.html=$((3100 / scale)) page4.html=1600 report.html=$((20000 / scale)) \
        part1.css=1300 part2.css=$((3600 / scale)) part3.css=900 part4.css=$((5200 / scale)) part5.css=$((7000 / scale)) \
        feed.json=180
      echo "server { server_name $name; root $d/$name; listen $address:443 ssl http2;"
      [ "$name" = weather.skylark.example ] && echo "listen $address:80;"
      echo "ssl_certificate $work/sites/$name.pem; ssl_certificate_key $work/sites/$name.key; ssl_protocols ${tls/,/ };"
      echo "location /api { return 200 '{\"ok\":true,\"next\":300}'; } }"
    done <<<"$sites"
    if [ "$s" = odd ]; then
      for a in router:192.168.56.1:TLSv1.2 nas:192.168.56.20:TLSv1.3; do
        IFS=: read -r name address tls <<<"$a"
        python3 "$here/pages.py" "$d/$name" "$name" index.html=1500 page1.html=800 page2.html=2700 \
          page3.html=1500 page4.html=2900
        echo "server { root $d/$name; listen $address:443 ssl; ssl_protocols $tls;"
        echo "ssl_certificate $work/$name.pem; ssl_certificate_key $work/$name.key; }"
      done
    fi
    echo "}"
  } >"$d/nginx.conf"
  ip netns exec "$tag-$s-srv" nginx -e "$work/log" -p "$d" -c "$d/nginx.conf" >>"$work/log" 2>&1 & pids+=($!)
}

c2() {                                     # c2 SCENE ADDRESS:PORT CERTIFICATE VERSION [CIPHERS]
  wanted "$1" || return 0
  run "$tag-$1-srv" "$here/c2.py" serve "$2" "$3.pem" "$3.key" "${@:4}"
}

taps=()
tap() {                                    # tap SCENE
  ip netns exec "$tag-$1-lan" tcpdump -i edge -s 0 -U -n -Z root --time-stamp-precision=micro \
    -w "$work/$1.pcap" >>"$work/log" 2>&1 & pids+=($!); taps+=($!)
}

jobs_=()
go() {                                     # go SCENE HOST_NUMBER PROGRAM ARGUMENTS...
  wanted "$1" || return 0
  local ns=$tag-$1-h$2; shift 2
  ip netns exec "$ns" timeout 420 python3 "$@" >>"$work/log" 2>&1 & pids+=($!); jobs_+=($!)
}

# ---------------------------------------------------------------- the scenes

echo "make.sh: certificates"
make_ca
make_sites
self_signed "$work/router" "/C=GB/O=Homestead Networks/OU=Gateway/CN=192.168.56.1" 3650 2048
self_signed "$work/nas" "/C=GB/L=London/O=Stackbox Storage/OU=NAS/CN=stackbox" 3650 2048
# The style of known command servers: openssl's own default names, or random words.
default="/C=AU/ST=Some-State/O=Internet Widgits Pty Ltd"
while read -r s days_a days_b digest_b; do
  c2_certificate "$work/$s-a" "$default" 365 "$days_a" sha256
  c2_certificate "$work/$s-b" "/C=$(words 1 | cut -c1-2 | tr a-z A-Z)/ST=$(words 1)/L=$(words 1)/O=$(words 2)/OU=$(words 1)/CN=$(words 1 | tr A-Z a-z)" \
    3650 "$days_b" "$digest_b"
done <<<"\
tls12 23 190 sha1
tls13 41 8 sha256
first 12 265 sha1"

echo "make.sh: namespaces and servers"
for s in "${scenes[@]}"; do
  case $s in
    office) scene office 192.168.56.101 ;;
    odd) scene odd 192.168.56.102 ;;
    tls12) scene tls12 192.168.56.103 ;;
    tls13) scene tls13 192.168.56.104 ;;
    first) scene first 192.168.56.105 192.168.56.106 ;;
    mqtt) scene mqtt 192.168.56.107 192.168.56.108 192.168.56.109 ;;
    *) echo "make.sh: no scene is called $s" >&2; exit 1 ;;
  esac
done
legacy='AES256-SHA256:AES128-SHA:@SECLEVEL=0'
c2 tls12 203.0.113.66:443 "$work/tls12-a" 1.2
c2 tls12 198.51.100.177:4443 "$work/tls12-b" 1.2 "$legacy"
c2 tls13 198.51.100.203:443 "$work/tls13-a" 1.3
c2 tls13 192.0.2.151:8443 "$work/tls13-b" 1.3
c2 first 203.0.113.129:443 "$work/first-a" 1.2
c2 first 192.0.2.222:4443 "$work/first-b" 1.2 "$legacy"
if wanted mqtt; then run "$tag-mqtt-srv" "$here/mqtt.py" serve "$broker:1883"; fi
for s in "${scenes[@]}"; do tap "$s"; done
sleep 3

echo "make.sh: traffic (up to four minutes)"
ca=$work/ca/root.crt
go office 1 "$here/people.py" office "$ca" office 26
go odd 1 "$here/people.py" admin
go odd 1 "$here/people.py" poll-curl "$ca" https://update.orchard-agent.example/feed.json 20 10
go odd 1 "$here/people.py" poll-python "$ca" https://status.fennel-monitor.example/feed.json 16 10
# One server gets a request of about 800 bytes on each connection, the other three of about 300.
small=(--requests 3 --size 258)
go tls12 1 "$here/c2.py" implant 203.0.113.66:443 1.2 16 10 --seed 12a --download-at 6 --download-size 120000
go tls12 1 "$here/c2.py" implant 198.51.100.177:4443 1.2 10 15 --seed 12b "${small[@]}" --upload-at 6 --upload-size 50000
go tls13 1 "$here/c2.py" implant 198.51.100.203:443 1.3 16 10 --seed 13a --download-at 7 --download-size 80000
go tls13 1 "$here/c2.py" implant 192.0.2.151:8443 1.3 10 15 --seed 13b "${small[@]}" --upload-at 7 --upload-size 50000
go first 1 "$here/people.py" office "$ca" first-a 10
go first 2 "$here/people.py" office "$ca" first-b 3
go first 2 "$here/c2.py" implant 203.0.113.129:443 1.2 16 10 --seed 1a --download-at 6 --download-size 50000
go first 2 "$here/c2.py" implant 192.0.2.222:4443 1.2 8 18 --seed 1b "${small[@]}" --upload-at 5 --upload-size 20000
# Sensors in two rooms, a board on the wall, a gateway with yesterday's password; and on the third host the odd one.
sensor() { go mqtt "$1" "$here/mqtt.py" sensor "$broker:1883" "${@:2}"; }
sensor 1 thermometer-2f-east 4 60 4 80 --password meadow
sensor 1 thermometer-2f-west 4 60 7 80 --password meadow
sensor 1 window-2f 5 30 12 80
sensor 1 battery-hygrometer-2f 4 15 10 80 --once
sensor 2 meter-3f 5 120 3 80 --password meadow
sensor 2 door-3f 4 10 25 80
sensor 2 battery-hygrometer-3f 5 0 9 80 --once
sensor 2 gateway-3f 5 60 5 80 --password yesterday
go mqtt 1 "$here/mqtt.py" board "$broker:1883" 82
go mqtt 3 "$here/mqtt.py" odd "$broker:1883" 72
for j in "${jobs_[@]}"; do wait "$j" || echo "make.sh: a client ended with an error (see below)" >&2; done
sleep 2
for t in "${taps[@]}"; do kill -INT "$(pgrep -P "$t" tcpdump || echo "$t")" 2>/dev/null || true; done
sleep 1

# ---------------------------------------------------------------- hand over

for s in "${scenes[@]}"; do
  case $s in
    office) editcap -F pcapng "$work/office.pcap" "$out/benign-office.pcapng" ;;
    odd) cp "$work/odd.pcap" "$out/benign-odd.pcap" ;;
    first) cp "$work/first.pcap" "$out/first-run.pcap" ;;
    mqtt) cp "$work/mqtt.pcap" "$out/mqtt-sensors.pcap" ;;
    *) cp "$work/$s.pcap" "$out/malicious-beacon-$s.pcap" ;;
  esac
done
chmod 644 "$out"/*.pcap*
[ -z "${KEEP_LOG:-}" ] || cp "$work/log" "$KEEP_LOG"
grep -E '^(visit|beat) |Traceback|emerg|Error' "$work/log" >&2 || true
ls -l "$out"/*.pcap* | awk '{ n = split($NF, p, "/"); print $5, p[n]; sum += $5 } END { print sum, "bytes in all" }'
echo "make.sh: done; ./check.sh looks at what the captures hold"

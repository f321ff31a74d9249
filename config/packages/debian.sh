#!/usr/bin/env bash
# Builds a Debian package of binaries that are there: debian.sh BINARIES-FOLDER OUTPUT-FOLDER
# The same input gives the same bytes: times are SOURCE_DATE_EPOCH, by default that of the last commit. COMPRESSION is
# xz unless it says otherwise (`none` for a test).
set -euo pipefail
if [ $# != 2 ]; then
    echo "usage: $0 BINARIES-FOLDER OUTPUT-FOLDER" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
binaries=$(cd "$1" && pwd)
mkdir -p "$2"
output=$(cd "$2" && pwd)
export LC_ALL=C TZ=UTC
umask 022
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    SOURCE_DATE_EPOCH=$(git -C "$source" log -1 --format=%ct 2>/dev/null || stat -c %Y "$source/Cargo.lock")
fi
export SOURCE_DATE_EPOCH
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' "$source/Cargo.toml")
architecture=$(dpkg --print-architecture)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

put() { install -D -m "$1" "$2" "$root/$3"; }
for binary in veilwatch veilwatch-web; do
    put 755 "$binaries/$binary" "usr/bin/$binary"
    if command -v strip >/dev/null; then strip --strip-unneeded "$root/usr/bin/$binary"; fi
done

# Configuration, which is its owner's to change; models and pipelines of the box are in the binaries and here to copy.
put 644 "$here/debian/web.toml" etc/veilwatch/web.toml
put 644 "$source/config/sensor.toml" etc/veilwatch/sensor.toml
put 644 "$here/debian/environment" etc/veilwatch/environment
put 644 "$here/systemd/logrotate.conf" etc/logrotate.d/veilwatch-web
put 644 "$source/examples/sensor/logrotate.conf" etc/logrotate.d/veilwatch
for file in default full blind lean protocols; do
    put 644 "$source/config/$file.toml" "usr/share/veilwatch/pipelines/$file.toml"
done
for file in "$source"/config/tables/*; do put 644 "$file" "usr/share/veilwatch/tables/${file##*/}"; done
for model in "$source"/models/*/; do
    for file in "$model"*; do put 644 "$file" "usr/share/veilwatch/models/$(basename "$model")/${file##*/}"; done
done

put 644 "$here/systemd/veilwatch-web.service" usr/lib/systemd/system/veilwatch-web.service
put 644 "$here/systemd/sysusers.conf" usr/lib/sysusers.d/veilwatch-web.conf
install -d "$root/usr/lib/systemd/system"
sed 's|/usr/local/bin/|/usr/bin/|' "$source/examples/sensor/veilwatch.service" >"$root/usr/lib/systemd/system/veilwatch.service"

documents=usr/share/doc/veilwatch
put 644 "$source/web/OPERATIONS.md" $documents/OPERATIONS.md
put 644 "$source/web/README.md" $documents/README.web.md
put 644 "$source/config/README.md" $documents/README.pipelines.md
put 644 "$source/models/README.md" $documents/README.models.md
for file in LIVE OUTPUT QUERY ANALYSE; do put 644 "$source/host/$file.md" "$documents/$file.md"; done
{
    printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: Veilwatch\n\n'
    printf 'Files: *\nCopyright: the authors of Veilwatch\nLicense: MIT or Apache-2.0\n\nLicense: MIT\n'
    sed 's/^$/./; s/^/ /' "$source/LICENSE-MIT"
    printf '\nLicense: Apache-2.0\n On Debian systems the whole text is in /usr/share/common-licenses/Apache-2.0.\n'
} >"$root/$documents/copyright"
# What is linked into the binaries, with the licence of each.
if command -v cargo >/dev/null; then
    (cd "$source" && cargo tree --offline --locked --quiet -p veilwatch -p veilwatch-web -e normal --prefix none \
        --format '{p} | {l} | {r}') | sed 's| ([^)]*)||g' | sort -u | grep -v '^$' >"$root/$documents/libraries.txt"
fi
printf 'veilwatch (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md of the project.\n\n -- Veilwatch <veilwatch@localhost>  %s\n' \
    "$version" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$root/$documents/changelog.gz"

# What the commands say of themselves, as manual pages.
for binary in veilwatch veilwatch-web; do
    install -d "$root/usr/share/man/man1"
    {
        printf '.TH %s 1 "" "Veilwatch %s"\n.SH NAME\n' "${binary^^}" "$version"
        if [ $binary = veilwatch ]; then
            printf 'veilwatch \\- finds malicious traffic inside encryption, without decrypting it\n'
        else
            printf 'veilwatch\\-web \\- the portal of Veilwatch\n'
        fi
        printf '.SH DESCRIPTION\n.nf\n'
        "$binaries/$binary" --help | sed 's/\\/\\e/g; s/-/\\-/g; s/^\([.'"'"']\)/\\\&\1/'
        printf '.fi\n.SH SEE ALSO\n/usr/share/doc/veilwatch\n'
    } | gzip -9n >"$root/usr/share/man/man1/$binary.1.gz"
done

# The newest symbols of the C library that the binaries want say which one that must be.
glibc=$(grep -aohE 'GLIBC_2\.[0-9]+' "$root"/usr/bin/* | sort -uV | tail -n 1)
needs="libc6 (>= ${glibc#GLIBC_}), libgcc-s1, debconf (>= 0.5) | debconf-2.0"
install -d "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<CONTROL
Package: veilwatch
Version: $version
Architecture: $architecture
Maintainer: Veilwatch <veilwatch@localhost>
Installed-Size: $(du -sk --apparent-size --exclude=DEBIAN "$root" | cut -f1)
Depends: $needs
Recommends: libpcap0.8 | libpcap0.8t64, logrotate, systemd
Section: net
Priority: optional
Description: malicious traffic inside encryption, found without decrypting it
 The command veilwatch reads captures and watches interfaces; veilwatch-web is the portal, to which people upload
 captures and where they read what was found. Both run as services with few rights.
CONTROL
(cd "$root" && find etc -type f -printf '/%p\n' | sort) >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do install -m 755 "$here/debian/$script" "$root/DEBIAN/$script"; done
install -m 644 "$here/debian/templates" "$root/DEBIAN/templates"
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
find "$root" -depth -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

package="$output/veilwatch_${version}_$architecture.deb"
dpkg-deb --root-owner-group -Z"${COMPRESSION:-xz}" --threads-max=1 --build "$root" "$package" >/dev/null
echo "$package"

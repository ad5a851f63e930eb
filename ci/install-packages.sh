#!/usr/bin/env bash
# Installs the Debian packages of the named groups of ci/packages.list, those of them that are missing.
#
#     ci/install-packages.sh base amqp
#
# Packages that bring a daemon must not start it: the tests run their own brokers on ports of their own.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

packages=()
for group in "$@"; do
    line=$(grep -E "^$group[[:space:]]" "$here/packages.list") || {
        echo "no group '$group' in ci/packages.list" >&2
        exit 2
    }
    read -r -a fields <<<"$line"
    packages+=("${fields[@]:1}")
done

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "install by hand, this system has no apt-get: ${missing[*]}" >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "run as root: apt-get install -y --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo -n)
fi

# While this file answers 101, maintainer scripts start no daemon. One that is there already is left alone.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
fi

apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null
}
echo "installing ${missing[*]}"
install=(install -y --no-install-recommends "${missing[@]}")
# The package index may be absent or older than the archive: refresh it only when it turns out so.
apt "${install[@]}" || { apt update && apt "${install[@]}"; }

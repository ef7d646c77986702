#!/usr/bin/env bash
# Installs the servers that tests start privately: Redis, Valkey, PostgreSQL, PgBouncer, Prometheus, and a browser, from Debian's or Ubuntu's packages.
#
# Nothing is left running: the packages' own services are kept from starting. Where a server cannot be had this says so
# and goes on; its tests are then skipped with a reason, or fail where CI is set.
set -euo pipefail

say() { printf 'servers: %s\n' "$*" >&2; }

missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
command -v postgres >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=(postgresql)
command -v prometheus >/dev/null || missing+=(prometheus)
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || missing+=(chromium)
command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
# Valkey is a package of Debian 13 and Ubuntu 24.04; where there is none, nothing is missing.
add_valkey() { command -v valkey-server >/dev/null || [ -z "$(apt-cache show valkey-server 2>/dev/null)" ] || missing+=(valkey-server); }
add_valkey
[ ${#missing[@]} -gt 0 ] || exit 0

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo -n "$@"; else return 1; fi
}

give_up() { say "could not install ${missing[*]}: $1; tests that need them are skipped"; exit 0; }

command -v apt-get >/dev/null || give_up "no apt-get here"
as_root true 2>/dev/null || give_up "neither root nor sudo"

say "installing ${missing[*]}"
policy=/usr/sbin/policy-rc.d # what packages ask before they start a service: 101 means "do not"
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod +x "$policy"
    trap 'as_root rm -f "$policy"' EXIT
fi
{
    as_root apt-get update -qq &&
        add_valkey && # it may be known only now
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 "${missing[@]}"
} </dev/null >/dev/null || give_up "apt-get failed"

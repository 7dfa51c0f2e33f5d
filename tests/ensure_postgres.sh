#!/bin/sh
# Make sure a PostgreSQL server of the tests' own answers: idempotent. Usage: ensure_postgres.sh [FOLDER]
# The cluster, its socket and the file `address` are in FOLDER (default: $ARCHON_TEST_POSTGRES, else a folder in /tmp).
# On Debian as root it installs postgresql where missing. Elsewhere it says what is missing and exits with 3.
set -u
folder=${1:-${ARCHON_TEST_POSTGRES:-/tmp/archon-postgres-$(id -u)}}
log=$folder.log

missing() { echo "ensure_postgres: NO POSTGRESQL: $1" >&2; exit 3; }

find_programs() {
    for programs in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) \
        "$(pg_config --bindir 2>/dev/null)" "$(dirname "$(command -v initdb || echo /none/none)")"; do
        [ -x "$programs/initdb" ] && [ -x "$programs/pg_ctl" ] && return 0
    done
    return 1
}

if ! find_programs; then
    [ "$(id -u)" = 0 ] || missing "initdb is not installed and only root can install it"
    command -v apt-get >/dev/null || missing "initdb is not installed and this is not Debian"
    (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql) \
        >"$log.apt" 2>&1 || missing "apt-get failed, see $log.apt"
    find_programs || missing "the package postgresql has no initdb"
fi
as_owner() { "$@"; }
if [ "$(id -u)" = 0 ]; then  # the server refuses to run as root
    id postgres >/dev/null 2>&1 || missing "there is no user postgres to run the server"
    as_owner() { (cd / && runuser -u postgres -- "$@"); }
fi

mkdir -p "$folder" || missing "$folder cannot be made"
command -v flock >/dev/null && exec 9>"$folder.lock" && flock 9  # two at once make one cluster
[ "$(id -u)" = 0 ] && chown postgres "$folder"
chmod 700 "$folder"  # whoever reaches the socket is let in
if [ ! -s "$folder/made" ]; then
    rm -rf "$folder/data"
    as_owner "$programs/initdb" -D "$folder/data" -U archon --auth-local=trust --auth-host=scram-sha-256 \
        --encoding=UTF8 --locale=C --no-sync >"$log" 2>&1 9>&- || { tail -5 "$log" >&2; missing "initdb failed, see $log"; }
    # fsync matters when a machine loses power, which no test does
    as_owner tee -a "$folder/data/postgresql.conf" >/dev/null <<SETTINGS
unix_socket_directories = '$folder'
listen_addresses = '127.0.0.1'
fsync = off
max_connections = 200
shared_buffers = 16MB
SETTINGS
    echo yes >"$folder/made"
fi
as_owner "$programs/pg_ctl" -D "$folder/data" status >/dev/null 2>&1 9>&- && exit 0
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
as_owner "$programs/pg_ctl" -D "$folder/data" -l "$folder/server.log" -o "-p $port" -w start >"$log" 2>&1 9>&- || {
    tail -5 "$folder/server.log" >&2
    missing "the server does not start, see $folder/server.log"
}
echo "postgresql://archon@/postgres?host=$folder&port=$port" >"$folder/address"

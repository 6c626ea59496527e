#!/bin/sh
# What the public postgres image does at its start, as far as MLflow's database needs it: an empty folder becomes a
# database cluster with one user and one database, then the server takes over.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    half="$PGDATA.new" # a start that was cut off leaves nothing that looks whole
    rm -rf "$half"
    initdb --pgdata="$half" --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" \
        --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8
    echo 'host all all all scram-sha-256' >>"$half/pg_hba.conf"
    echo "CREATE DATABASE \"$POSTGRES_DB\"" | postgres --single -D "$half" postgres
    mv "$half" "$PGDATA"
fi
exec "$@" -c listen_addresses='*'

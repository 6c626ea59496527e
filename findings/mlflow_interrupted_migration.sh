#!/usr/bin/env bash
# MLflow 3.17.2 on SQLite: a first start that a full disk cuts short leaves a database which no later start gets past.
#
# `mlflow db upgrade`, and each MLflow server on a new database, runs some 60 migrations. With SQLite they are not one
# transaction: a table that a migration has made is there although the revision it belongs to is not written down. Once
# there is room again, the same command makes that table again and fails, and so does each start of a server on it.
# A limit on the size of files stands for the full disk; SQLite reports both in the same way.
#
# Runs the command with too little room, then with enough, twice. Prints how each ended, and fails if it changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlflow-skinny==3.17.2 \
  sqlalchemy==2.1.9 alembic==1.20.1

export MLFLOW_DISABLE_TELEMETRY=true
upgrade() {
  "$folder/venv/bin/mlflow" db upgrade "sqlite:///$folder/mlflow.db" >"$folder/said" 2>&1 && echo done && return
  grep -o 'table [a-z_]* already exists\|disk I/O error\|database or disk is full' "$folder/said" | head -1
}

first=$( (ulimit -f 400; upgrade) )
second=$(upgrade)
third=$(upgrade)
echo "MLflow 3.17.2: without room: $first; with room: $second; again: $third"
[[ $first == *"disk"* && $second == "table "*" already exists" && $third == "$second" ]] \
  || { echo "changed: expected that it fails for want of room, and later because a table already exists" >&2; exit 1; }

#!/usr/bin/env bash
# ONNX Runtime 1.31.1 for Linux starts its telemetry when it is imported: a thread, and a database in the home folder.
#
# One would expect `import onnxruntime` to start nothing, as in earlier wheels for Linux, where telemetry was for Windows
# alone. Now the import of a library for inference starts a thread, and $HOME/.cache/Microsoft/DeveloperTools gets an
# SQLite database of what is to be sent. A program that forks afterwards (a server of several processes) forks beside a
# thread. `onnxruntime.disable_telemetry_events()` can only be called after that; ORT_DISABLE_TELEMETRY=1, set before the
# import, prevents both.
#
# Prints the threads and the files with and without the variable, and fails if they change.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.31.1 numpy==2.4.1

cat > "$folder/import.py" <<'PYTHON'
import os
import time
from pathlib import Path

import numpy  # its linear algebra has threads of its own

before = len(os.listdir("/proc/self/task"))
import onnxruntime

time.sleep(1)
threads = len(os.listdir("/proc/self/task")) - before
files = any(path.name == "onnxruntime.db" for path in Path.home().rglob("*"))
print(f"{threads} more threads, {'a' if files else 'no'} database")
PYTHON

mkdir "$folder/on" "$folder/off"
on=$(env -u ORT_DISABLE_TELEMETRY -u XDG_CACHE_HOME HOME="$folder/on" "$folder/venv/bin/python" "$folder/import.py")
off=$(env -u XDG_CACHE_HOME HOME="$folder/off" ORT_DISABLE_TELEMETRY=1 "$folder/venv/bin/python" "$folder/import.py")
echo "as it is:                $on"
echo "ORT_DISABLE_TELEMETRY=1: $off"
[[ $on == "1 more threads, a database" && $off == "0 more threads, no database" ]] \
  || { echo "changed: expected a thread and a database by the import alone, and neither with the variable" >&2; exit 1; }

#!/usr/bin/env bash
# JAX 0.10.2: its persistent compilation cache never gets over a process that was killed while it wrote an entry.
#
# An entry is written in place, not beside its name and renamed. What a killed process leaves is read by every later
# process with a warning, compiled anew by each of them, and never written again, because its name is there. With
# `jax_compilation_cache_max_size` an entry is two files, and one that has only the first stops every later write of
# whatever program: the look for what is to be evicted raises FileNotFoundError, and JAX warns and goes on.
#
# Leaves both states, as a kill does, by cutting an entry and by removing the second file of one. Prints how many
# entries are read, damaged and written, and fails if that changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 filelock==3.20.0

cat > "$folder/once.py" <<'PYTHON'
import sys
import warnings
from pathlib import Path

import jax

folder, what, limit = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
jax.config.update("jax_compilation_cache_dir", str(folder))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_compilation_cache_max_size", limit)
functions = {"sin": jax.numpy.sin, "tan": jax.numpy.tan}
argument = jax.device_put(1.0)
before = {path.name: path.stat().st_size for path in folder.glob("*-cache")}
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    jax.jit(functions[what])(argument).block_until_ready()
after = {path.name: path.stat().st_size for path in folder.glob("*-cache")}
kinds = [str(one.message).split(" persistent")[0] for one in told]
print(f"{what}: {len(after) - len(before)} new, {sum(after[name] != size for name, size in before.items())} replaced,", *kinds or ["no warning"])
PYTHON

once() { "$folder/venv/bin/python" "$folder/once.py" "$folder/$1" "$2" "$3" 2>/dev/null; }
said=$(
  once plain sin -1
  once plain sin -1
  truncate --size 100 "$folder"/plain/*-cache
  once plain sin -1
  once plain sin -1
  once limited sin 1000000000
  rm "$folder"/limited/*-atime
  once limited tan 1000000000
  once limited tan 1000000000
)
echo "$said"
[[ $said == "sin: 1 new, 0 replaced, no warning
sin: 0 new, 0 replaced, no warning
sin: 0 new, 0 replaced, Error reading
sin: 0 new, 0 replaced, Error reading
sin: 1 new, 0 replaced, no warning
tan: 0 new, 0 replaced, Error writing
tan: 0 new, 0 replaced, Error writing" ]] \
  || { echo "changed: expected that a cut entry stays, and that one without its second file stops every write" >&2; exit 1; }

#!/usr/bin/env bash
# TensorFlow 2.21.0 imports JAX when it is installed, and Keras 3.15.1 scikit-learn and Matplotlib.
#
# One would expect `import tensorflow` to load what TensorFlow needs. Its public modules, though, reach
# tensorflow.lite.python.util, which tries `import jax` for a converter from JAX, and Keras' public modules reach
# keras.src.wrappers.fixes (`import sklearn`) and keras.src.visualization (`import matplotlib.pyplot`). Each import is
# in a try block, so nothing fails without them; where they are installed, every process that trains pays for them.
# Seen on two x86-64 cores, in one environment: 3.4 s of CPU time for `import keras` as it is, 2.0 s with the three
# made to look as if they were not installed.
#
# Prints the CPU seconds of both and the packages that were loaded, and fails if the packages change.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow-cpu==2.21.0 keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 scikit-learn==1.9.1 matplotlib==3.11.2

export TF_CPP_MIN_LOG_LEVEL=3 KERAS_BACKEND=tensorflow
cat > "$folder/imports.py" <<'PYTHON'
import sys
import time

hidden = sys.argv[2:]
sys.modules.update(dict.fromkeys(hidden))  # None: an import of it raises ImportError
__import__(sys.argv[1])
loaded = [name for name in ("jax", "matplotlib", "sklearn") if sys.modules.get(name)]
print(f"{time.process_time():.1f} s of CPU time:", *(loaded or ["none of the three"]))
PYTHON

run() { "$folder/venv/bin/python" "$folder/imports.py" "$@" 2>/dev/null; }
run tensorflow >/dev/null # compiles bytecode
for module in tensorflow keras; do
  as_it_is=$(run "$module")
  alone=$(run "$module" jax matplotlib sklearn)
  echo "import $module: $as_it_is"
  echo "import $module, the three hidden: $alone"
  [[ $as_it_is == *": jax matplotlib sklearn" && $alone == *": none of the three" ]] \
    || { echo "changed: expected jax, matplotlib and sklearn, and none of them where they are hidden" >&2; exit 1; }
done

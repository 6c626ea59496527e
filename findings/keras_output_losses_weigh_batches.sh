#!/usr/bin/env bash
# Keras 3.15.1 averages the loss of each output over batches, and the loss of the whole model over rows.
#
# With two outputs `evaluate` gives `loss`, `a_loss` and `b_loss`. Where the last batch is smaller, `loss` is no longer
# their sum: in the figure of one output a row of the short batch counts more than another row. So `a_loss` depends on
# `batch_size`, and whoever compares models by it compares batches too. `loss` itself is right for every size.
#
# 44 rows in one batch and in batches of 16, 16 and 12, the same weights. Prints the figures, and fails if they change.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 tensorflow-cpu==2.21.0 numpy==2.4.6

cat > "$folder/losses.py" <<'PYTHON'
import keras
import numpy as np

inputs = keras.Input((1,))
ones = {name: keras.layers.Dense(1, kernel_initializer="zeros", name=name)(inputs) for name in ("a", "b")}
model = keras.Model(inputs, ones)
model.compile("sgd", loss={"a": "mse", "b": "mse"})
rows = np.zeros((44, 1), "float32")
targets = np.zeros((44, 1), "float32")
targets[32:] = 1.0  # the last 12 rows: each squared error is 1, so the mean is 12 / 44
for size in (44, 16):
    found = model.evaluate(rows, {"a": targets, "b": targets}, batch_size=size, return_dict=True, verbose=0)
    print(size, *(f"{found[name]:.4f}" for name in ("loss", "a_loss", "b_loss")))
PYTHON

said=$(KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" "$folder/losses.py" 2>/dev/null)
echo "batch  loss  a_loss  b_loss"
echo "$said"
[[ $said == $'44 0.5455 0.2727 0.2727\n16 0.5455 0.3333 0.3333' ]] \
  || { echo "changed: expected 12/44 of each output in one batch, and 1/3 in batches of 16" >&2; exit 1; }

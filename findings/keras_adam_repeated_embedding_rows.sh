#!/usr/bin/env bash
# Keras 3.15.1 on TensorFlow 2.21.0: Adam takes a row of an Embedding that a batch reads twice for two gradients.
#
# A row that stands twice in a batch has one gradient, the sum of both. Adam's second moment is the mean of its square
# (Kingma, Ba, 2015), so the first step of any parameter is the learning rate. On TensorFlow the gradient of an Embedding
# is IndexedSlices, of which Keras squares each slice before they are added: 2 g^2 in place of (2 g)^2, and the first
# step is 1.414 times the learning rate. JAX and PyTorch, whose gradients are dense, take the step of 1.0; so does
# TensorFlow itself with the same layer written as one-hot rows and a Dense layer.
#
# One step of both from the same weights. Prints the steps in learning rates, and fails if it changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 tensorflow-cpu==2.21.0 numpy==2.4.6

cat > "$folder/steps.py" <<'PYTHON'
import keras
import numpy as np

RATE = 0.1
ids = np.array([[1, 1]], "int32")
answer = keras.layers.Dense(1, kernel_initializer="ones", use_bias=False, trainable=False)


def step(first, rows):
    model = keras.Sequential([keras.Input(rows.shape[1:]), *first, keras.layers.Flatten(), answer])
    model.compile(keras.optimizers.Adam(RATE), "mse")
    model.fit(rows, np.ones((1, 1), "float32"), verbose=0)
    return round(float(model.get_weights()[0][1, 0]) / RATE, 3)


embedded = step([keras.layers.Embedding(3, 1, embeddings_initializer="zeros")], ids)
one_hot = step([keras.layers.Dense(1, kernel_initializer="zeros", use_bias=False)], np.eye(3, dtype="float32")[ids])
print("Keras", keras.__version__, "Embedding:", embedded, "one-hot and Dense:", one_hot)
PYTHON

said=$(KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" "$folder/steps.py" 2>/dev/null)
echo "$said"
[[ $said == "Keras 3.15.1 Embedding: 1.414 one-hot and Dense: 1.0" ]] \
  || { echo "changed: expected a step of 1.414 learning rates of the Embedding, and of 1.0 of the Dense layer" >&2; exit 1; }

#!/usr/bin/env bash
# Keras 3.15.1 calls the argument 3 "non-serializable" where a Model takes it, and stores it where a Layer does.
#
# A layer whose `__init__` takes an int has a config without a `get_config` of its own: {"classes": 3, …}. The same
# class derived from keras.Model has none: `get_config()`, and so `save("x.keras")`, raises NotImplementedError and says
# that it "was created by passing non-serializable argument values". The value is an int; the text misleads whoever
# looks for the value that can't be stored.
#
# One class of each kind with the same `__init__`. Prints what both say, and fails if it changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 tensorflow-cpu==2.21.0 numpy==2.4.6

cat > "$folder/config.py" <<'PYTHON'
import keras


class Block(keras.layers.Layer):
    def __init__(self, classes):
        super().__init__()
        self.head = keras.layers.Dense(classes)


class Net(keras.Model):
    def __init__(self, classes):
        super().__init__()
        self.head = keras.layers.Dense(classes)


print("layer:", Block(3).get_config()["classes"])
try:
    print("model:", Net(3).get_config())
except NotImplementedError as error:
    print("model:", "non-serializable" in str(error) and "says that its arguments are non-serializable")
PYTHON

said=$(KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" "$folder/config.py" 2>/dev/null)
echo "$said"
[[ $said == $'layer: 3\nmodel: says that its arguments are non-serializable' ]] \
  || { echo "changed: expected a config of the layer, and none of the model" >&2; exit 1; }

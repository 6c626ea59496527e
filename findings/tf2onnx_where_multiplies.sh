#!/usr/bin/env bash
# tf2onnx 1.17.0 exports where(condition, a, b) as a * condition + b * (1 - condition): NaN where the other one is infinite.
#
# One would expect ONNX's Where. The sum is the same for finite values only: in where(x > 0, log(x), 0) the logarithm of
# each x of 0 or below is infinite or no number, and times 0 it is no number, so the file answers NaN where TensorFlow
# answers 0. It is no edge: choosing a safe value is what `where` is used for there. No warning is printed, and rows with
# x > 0 alone are equal.
#
# Prints both answers and the operators of the file, and fails if they change.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow-cpu==2.21.0 tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6

export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1
cat > "$folder/where.py" <<'PYTHON'
import sys

import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx


@tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
def safe_log(x):
    return tf.where(x > 0, tf.math.log(x), 0.0)


model, _ = tf2onnx.convert.from_function(safe_log, safe_log.input_signature, opset=18)
rows = np.array([2.0, 0.0, -1.0], np.float32)
(found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": rows})
wanted = safe_log(rows).numpy()
operators = sorted({node.op_type for node in model.graph.node})
print(f"TensorFlow {wanted}, the file {found}, its operators {', '.join(operators)}")
same = np.isnan(found).tolist() == [False, True, True] and np.isfinite(wanted).all() and "Where" not in operators
sys.exit(0 if same else "changed: expected no Where, and NaN for 0 and -1 in the file alone")
PYTHON

"$folder/venv/bin/python" "$folder/where.py"

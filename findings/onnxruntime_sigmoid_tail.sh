#!/usr/bin/env bash
# ONNX Runtime 1.31.1's Sigmoid of float32 is exactly 0 from about -18 down, and 17 % off at -15; its Softmax is right.
#
# One would expect float32's relative accuracy, as exp(-18) is 1.5e-8 and far from float32's smallest number 1e-38: NumPy
# in float32 keeps it, and so does the Softmax of the same two numbers. The absolute error stays below 1e-7, so a
# comparison of probabilities does not see it; logarithms of them, as a log loss or a proof of a sure model takes, do: they
# become minus infinity. So what is computed from a served sigmoid's small probabilities is not what training computed.
#
# Prints the answers of both beside the right ones, and fails if that changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.1

cat > "$folder/sigmoid.py" <<'PYTHON'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper


def answers(kind, rows):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, None])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"])], "one", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": rows})[0]


z = np.array([-5, -10, -15, -18, -30], np.float32)
right = 1 / (1 + np.exp(-z.astype(np.float64)))
in_numpy = 1 / (1 + np.exp(-z))
sigmoid = answers("Sigmoid", z[:, None])[:, 0]
softmax = answers("Softmax", np.stack([z, np.zeros_like(z)], axis=1))[:, 0]
for row in zip(z, right, in_numpy, sigmoid, softmax):
    print("at {:5.0f}: right {:.3e}, NumPy float32 {:.3e}, Sigmoid {:.3e}, Softmax {:.3e}".format(*row))
off = [np.abs(found / right - 1) for found in (in_numpy, sigmoid, softmax)]
same = off[0].max() < 1e-6 and off[2].max() < 1e-5 and 0.05 < off[1][2] < 0.5 and (sigmoid[3:] == 0).all()
sys.exit(0 if same else "changed: expected Sigmoid to be 0 from -18 down, and Softmax to be right")
PYTHON

"$folder/venv/bin/python" "$folder/sigmoid.py"

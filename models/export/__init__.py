"""A trained model as ONNX files."""

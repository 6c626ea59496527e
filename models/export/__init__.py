"""Export of a trained model as ONNX files."""

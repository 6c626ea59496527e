"""The Open Inference Protocol over gRPC: switched on with `--grpc-port`; needs the extra `grpc`."""

"""The Open Inference Protocol over gRPC: an option, on with `--grpc-port`; needs the extra `grpc`."""

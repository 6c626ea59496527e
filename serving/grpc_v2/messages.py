"""The messages of the protocol, as protobuf classes made from a table.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto; fields
that are not read here (parameters of tensors) are left out: protobuf skips them. The classes have a descriptor pool of
their own, so that they do not clash with a client's copy of the same messages in one process.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# No grpcio-tools: it would add a step that generates code to the build.
PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
KINDS = {
    "double": 1,
    "float": 2,
    "int64": 3,
    "uint64": 4,
    "int32": 5,
    "bool": 8,
    "string": 9,
    "bytes": 12,
    "uint32": 13,
}
MESSAGE, OPTIONAL, REPEATED = 11, 1, 3
PACKED = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}

# Message: "name type number", * for repeated; a type that is not a scalar is another message of this table.
TABLE = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live bool 1",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready bool 1",
    "ModelReadyRequest": "name string 1, version string 2",
    "ModelReadyResponse": "ready bool 1",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name string 1, version string 2, extensions string* 3",
    "ModelMetadataRequest": "name string 1, version string 2",
    "TensorMetadata": "name string 1, datatype string 2, shape int64* 3",
    "ModelMetadataResponse": "name string 1, versions string* 2, platform string 3, inputs TensorMetadata* 4, "
    "outputs TensorMetadata* 5",
    "InferTensorContents": "bool_contents bool* 1, int_contents int32* 2, int64_contents int64* 3, "
    "uint_contents uint32* 4, uint64_contents uint64* 5, fp32_contents float* 6, fp64_contents double* 7, "
    "bytes_contents bytes* 8",
    "InferTensor": "name string 1, datatype string 2, shape int64* 3, contents InferTensorContents 5",
    "InferRequestedOutput": "name string 1",
    "InferParameter": "bool_param bool 1, int64_param int64 2, string_param string 3",
    "InferParameterEntry": "key string 1, value InferParameter 2",  # of a map
    "ModelInferRequest": "model_name string 1, model_version string 2, id string 3, "
    "parameters InferParameterEntry* 4, inputs InferTensor* 5, "
    "outputs InferRequestedOutput* 6, raw_input_contents bytes* 7",
    "ModelInferResponse": "model_name string 1, model_version string 2, id string 3, outputs InferTensor* 5, "
    "raw_output_contents bytes* 6",
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="tidegate_v2.proto", package=PACKAGE, syntax="proto3")
    for name, fields in TABLE.items():
        message = file.message_type.add(name=name)
        for entry in filter(None, fields.split(", ")):
            field, kind, number = entry.split()
            repeated, kind = kind.endswith("*"), kind.rstrip("*")
            added = message.field.add(
                name=field, number=int(number), label=REPEATED if repeated else OPTIONAL
            )
            added.type = KINDS.get(kind, MESSAGE)
            if kind not in KINDS:
                added.type_name = f".{PACKAGE}.{kind}"
    return file


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in TABLE
    }


CLASSES = _classes()

"""The outputs of an Open Inference Protocol response: the requested ones, in JSON or binary."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.serving.contract.descriptions import describe
from tidegate.serving.contract.tensors import AnswerTensors, box_tensors, output_specs, to_bytes
from tidegate.serving.dialects import ServedModel, explain_unsupported
from tidegate.serving.errors import ContractError
from tidegate.serving.http.json_body import encode

# The request's id, and for each output its name and whether it is binary.
RequestedOutputs: TypeAlias = tuple[str | None, list[tuple[str, bool]]]


class OutputWriter:
    """Writes predictions as the requested tensors."""

    def __init__(self, served: ServedModel) -> None:
        specs = output_specs(served.contract)
        self._head = {"model_name": served.name, "model_version": served.version}
        self._datatypes = {spec.name: spec.datatype for spec in specs}
        self._contract, self._writes = served.contract, served.contract.decoding is not None
        self._answers = AnswerTensors(served.contract)
        self._all = {flag: [(spec.name, flag) for spec in specs] for flag in (False, True)}

    def requested(self, content: dict[str, Any]) -> RequestedOutputs:
        """Which outputs a request asks for; all when it names none. Raises ContractError."""
        request_id = content.get("id")
        if request_id is not None and not isinstance(request_id, str):
            raise ContractError("id", describe(request_id), "a text", "quote it")
        binary = _flag(content, "binary_data_output", False)
        if "explain" in (content.get("parameters") or {}):
            raise explain_unsupported(content["parameters"]["explain"])
        outputs = content.get("outputs")
        if outputs is None or outputs == []:
            return request_id, self._all[binary]
        if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
            raise ContractError("outputs", describe(outputs), 'an array of {"name": ...}', "correct it")
        return request_id, [self._one(output, binary) for output in outputs]

    def write(self, values: NDArray[np.float32], requested: RequestedOutputs) -> tuple[bytes, list[bytes]]:
        """The JSON part, and the bytes of each binary tensor that follows it."""
        request_id, names = requested
        tail: list[bytes] = []
        found = self._tensors(values)
        outputs = [self._tensor(name, found[name], binary, tail) for name, binary in names]
        head = self._head if request_id is None else {**self._head, "id": request_id}
        return encode({**head, "outputs": outputs}), tail

    def tensor(self, name: str, values: NDArray[np.float32]) -> NDArray[Any]:
        """One output by name, see `_tensors`."""
        return self._tensors(values)[name]

    def datatype(self, name: str) -> str:
        """The datatype of an output."""
        return self._datatypes[name]

    def _tensors(self, values: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """All outputs by name: texts `(n,)`; for boxes see `box_tensors`, for all else `AnswerTensors`."""
        if self._contract.detection is not None:
            return box_tensors(self._contract, values)
        if self._writes:
            return {"text": values[:, 1], "log_probability": values[:, 0].astype(np.float32)}
        return self._answers(values)

    def _one(self, output: dict[str, Any], binary: bool) -> tuple[str, bool]:
        name = output.get("name")
        if not isinstance(name, str) or name not in self._datatypes:
            expected = f"one of {', '.join(self._datatypes)}"
            raise ContractError("outputs", f"the output {describe(name)}", expected, "correct its name")
        flag = _flag(output, "binary_data", binary)
        if "classification" in (output.get("parameters") or {}):
            raise ContractError(
                name, "the parameter classification", "no such parameter", "ask for the output label"
            )
        return name, flag

    def _tensor(self, name: str, value: NDArray[Any], binary: bool, tail: list[bytes]) -> dict[str, Any]:
        tensor = {"name": name, "datatype": self._datatypes[name], "shape": value.shape}
        if not binary:
            plain = value.ravel().tolist() if value.dtype.kind in "UO" else value.ravel()
            return {**tensor, "data": plain}
        tail.append(to_bytes(value))
        return {**tensor, "parameters": {"binary_data_size": len(tail[-1])}}


def _flag(holder: dict[str, Any], name: str, default: bool) -> bool:
    parameters = holder.get("parameters")
    if parameters is None:
        return default
    if not isinstance(parameters, dict):
        raise ContractError("parameters", describe(parameters), "an object", "correct them")
    flag = parameters.get(name, default)
    if not isinstance(flag, bool):
        raise ContractError(name, describe(flag), "true or false", "correct it")
    return flag

"""Keras files that nobody should load, each with the words it is refused with; and how a good one is made."""

import io
import json
import pickle
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Make = Callable[[Path], None]
Node = dict[str, Any]


def layer(kind: Any, module: str = "keras.layers", registered: str | None = None, **config: Any) -> Node:
    """A layer as Keras writes it."""
    return {"module": module, "class_name": kind, "config": config, "registered_name": registered}


def network(*layers: Node) -> Node:
    """A functional model of these layers."""
    return layer("Functional", "keras.src.models.functional", "Functional", name="m", layers=list(layers))


GOOD = network(layer("InputLayer", batch_shape=[None, 2]), layer("Dense", units=3, activation="softmax"))


def weights(add: Callable[[h5py.File], Any] | None = None) -> bytes:
    """A weights file with one array, and whatever `add` puts in."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.create_dataset("layers/dense/vars/0", data=np.zeros((2, 3), np.float32))
        if add is not None:
            add(file)
    return content.getvalue()


def keras(
    config: Any = GOOD, h5: bytes | None = None, change: Callable[[zipfile.ZipFile], Any] | None = None
) -> Make:
    """Returns a function that writes the archive Keras would, and then what `change` adds to it."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
            archive.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
            archive.writestr("model.weights.h5", weights() if h5 is None else h5)
            if change is not None:
                change(archive)

    return make


def member(
    name: str, content: bytes = b"x", mode: int = 0, **attributes: Any
) -> Callable[[zipfile.ZipFile], None]:
    """Returns a function that adds one member."""

    def change(archive: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo("x")
        info.filename = name  # as it is: the constructor would tidy it
        info.external_attr = mode << 16
        for key, value in attributes.items():
            setattr(info, key, value)
        archive.NameToInfo.pop(name, None)  # it would warn of a name that is there already
        archive.writestr(info, content)

    return change


def raw(content: bytes) -> Make:
    """Returns a function that writes just these bytes."""
    return lambda path: path.write_bytes(content) and None


def link(path: Path) -> None:
    """A model file that is a link to a good one."""
    keras()(path.with_name("real.keras"))
    path.symlink_to("real.keras")


def without(name: str) -> Make:
    """Returns a function that writes an archive without one member."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for other in {"metadata.json", "config.json", "model.weights.h5"} - {name}:
                archive.writestr(other, "{}")

    return make


def overlapping(path: Path) -> None:
    """Two members of the directory that share the same bytes, as in a bomb of overlapping files."""
    keras(change=member("assets/a/vocabulary.txt", b"x" * 5000))(path)
    with zipfile.ZipFile(path, "a") as archive:
        other = zipfile.ZipInfo("assets/b/vocabulary.txt")
        for key in ("header_offset", "file_size", "compress_size", "CRC"):
            setattr(other, key, getattr(archive.getinfo("assets/a/vocabulary.txt"), key))
        archive.filelist.append(other)
        archive.NameToInfo[other.filename] = other
        archive._didModify = True


def truncated(path: Path) -> None:
    """The beginning of a good archive."""
    keras()(path)
    path.write_bytes(path.read_bytes()[:-40])


def virtual(file: h5py.File) -> None:
    """An array that is a view into another file."""
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,), "f4")
    file.create_virtual_dataset("evil", layout)


def _put(name: str, value: Any) -> Callable[[h5py.File], None]:
    return lambda file: file.__setitem__(name, value)


def _outside(file: h5py.File) -> None:
    file.create_dataset("evil", (16,), "u1", external=[("/etc/passwd", 0, 16)])


def _promise(file: h5py.File) -> None:
    file.create_dataset("evil", (1 << 40,), "f4", chunks=(1 << 16,))


def _squeezed(file: h5py.File) -> None:
    file.create_dataset("evil", data=np.zeros(1 << 20, np.float32), compression="gzip")


def _texts(file: h5py.File) -> None:
    file.create_dataset("evil", data=["a"], dtype=h5py.string_dtype())


FUNCTION = {"module": "builtins", "class_name": "function", "config": "relu", "registered_name": "function"}
LAMBDA = {"class_name": "__lambda__", "config": {"value": "4wAAAAA="}}
DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000


def function(name: Any, module: str) -> Node:
    """A model whose activation is a function of some module."""
    return network(layer("Dense", units=1, activation={**FUNCTION, "config": name, "module": module}))


PICKLE = pickle.dumps({"a": 1})

KERAS: dict[str, tuple[Make, str]] = {
    "a pickle": (raw(PICKLE), "a Python pickle"),
    "an h5 file": (raw(weights()), "an HDF5 file"),
    "words": (raw(b"not a model"), "not a .keras archive"),
    "empty": (raw(b""), "not a .keras archive"),
    "a link": (link, "a link or not a file"),
    "truncated": (truncated, "not a complete archive"),
    "no config": (without("config.json"), "lacks the member 'config.json'"),
    "no weights": (without("model.weights.h5"), "lacks the member 'model.weights.h5'"),
    "traversal": (keras(change=member("assets/../../evil/vocabulary.txt")), "points outside the archive"),
    "traversal at the top": (keras(change=member("../evil.py")), "points outside the archive"),
    "absolute name": (keras(change=member("/etc/cron.d/evil")), "points outside the archive"),
    "backslashes": (keras(change=member("assets\\..\\..\\evil")), "points outside the archive"),
    "drive": (keras(change=member("C:evil")), "points outside the archive"),
    "NUL in a name": (keras(change=member("assets/vocabulary.txt\0.py")), "points outside the archive"),
    "symlink": (
        keras(change=member("assets/vocabulary.txt", b"/etc/passwd", stat.S_IFLNK | 0o777)),
        "is a link, a folder or a device",
    ),
    "fifo": (
        keras(change=member("assets/vocabulary.txt", b"", stat.S_IFIFO)),
        "is a link, a folder or a device",
    ),
    "folder": (keras(change=member("assets/", b"")), "is a link, a folder or a device"),
    "pickle inside": (keras(change=member("assets/state.pkl", PICKLE)), "does not belong in a model"),
    "second weights": (keras(change=member("old.weights.h5", weights())), "does not belong in a model"),
    "code inside": (keras(change=member("sitecustomize.py")), "does not belong in a model"),
    "weights as npz": (keras(change=member("model.weights.npz")), "does not belong in a model"),
    "a name twice": (keras(change=member("config.json", b"{}")), "twice"),
    "zip bomb": (
        keras(change=member("assets/vocabulary.txt", bytes(1 << 24), compress_type=zipfile.ZIP_DEFLATED)),
        "is compressed",
    ),
    "lzma": (
        keras(change=member("assets/vocabulary.txt", bytes(99), compress_type=zipfile.ZIP_LZMA)),
        "is compressed",
    ),
    "overlapping members": (overlapping, " overlap; expected"),
    "many members": (
        keras(change=lambda archive: [member(f"assets/{n}/vocabulary.txt")(archive) for n in range(1000)]),
        "1003 members",
    ),
    "config no JSON": (keras("not json"), "is not JSON"),
    "config a list": (keras([]), "is not an object"),
    "config too deep": (keras(DEEP), "is not JSON"),
    "config key twice": (
        keras('{"class_name": "Functional", "class_name": "Lambda"}'),
        "has the same key twice",
    ),
    "lambda layer": (keras(network(layer("Lambda", function=LAMBDA))), "the layer Lambda"),
    "lambda by its old name": (
        keras(network(layer("Lambda", "keras.src.layers.core.lambda_layer"))),
        "Lambda",
    ),
    "lambda in a wrapper": (
        keras(network(layer("TimeDistributed", layer=layer("Lambda", function=LAMBDA)))),
        "the layer Lambda",
    ),
    "lambda in a nested model": (keras(network(network(network(layer("Lambda"))))), "the layer Lambda"),
    "lambda value": (keras(network(layer("Dense", activation=LAMBDA))), "'__lambda__'"),
    "lambda in the build": (keras({**GOOD, "build_config": {"x": layer("Lambda")}}), "the layer Lambda"),
    "nested compile": (keras(network({**GOOD, "compile_config": {"loss": LAMBDA}})), "'__lambda__'"),
    "typespec": (
        keras({"class_name": "__typespec__", "spec_name": "system", "module": "os", "config": []}),
        "'__typespec__'",
    ),
    "saved model": (keras(network(layer("TFSMLayer", filepath="/tmp/x"))), "loads another model"),
    "torch": (keras(network(layer("TorchModuleWrapper", module="x"))), "unpickles"),
    "jax": (keras(network(layer("JaxLayer"))), "runs a function"),
    "flax": (keras(network(layer("FlaxLayer"))), "runs a function"),
    "module os": (keras(network(layer("system", "os"))), "'system' of 'os'"),
    "module subprocess": (keras(network(layer("Popen", "subprocess", args="id"))), "'Popen' of 'subprocess'"),
    "module builtins": (keras(network(layer("eval", "builtins"))), "'eval' of 'builtins'"),
    "unknown package": (keras(network(layer("Evil", "evil.layers"))), "'Evil' of 'evil.layers'"),
    "another framework": (keras(network(layer("Evil", "keras_hub.layers"))), "'Evil' of 'keras_hub.layers'"),
    "own code without a snapshot": (
        keras(network(layer("Scale", "tidegate_user_model", "own>Scale"))),
        "'Scale' of 'tidegate_user_model'",
    ),
    "no module": (keras(network({"class_name": "Dense", "config": {"units": 1}})), "'Dense' of None"),
    "registered name": (keras(network(layer("Dense", registered="os>system"))), "'os>system'"),
    "dots in a name": (keras(network(layer("core.Lambda"))), "'core.Lambda'"),
    "name no text": (keras(network(layer(["Dense"]))), "'Dense'"),
    "function as class": (keras(network(layer("get_file", "keras.utils"))), "'get_file' of 'keras.utils'"),
    "lower case": (keras(network(layer("deserialize"))), "'deserialize' of 'keras.layers'"),
    "source module": (keras(network(layer("X", "keras.src.saving.saving_lib"))), "saving_lib"),
    "function of os": (keras(function("system", "os")), "'system' of 'os'"),
    "function of utils": (keras(function("get_file", "keras.utils")), "'get_file' of 'keras.utils'"),
    "function of config": (
        keras(function("enable_unsafe_deserialization", "keras.config")),
        "'enable_unsafe_deserialization'",
    ),
    "function with dots": (keras(function("os.system", "builtins")), "'os.system'"),
    "function no text": (keras(function({"x": 1}, "builtins")), "{'x': 1}"),
    "loader as function": (keras(function("deserialize", "keras.losses")), "'deserialize'"),
    "vocabulary by path": (
        keras(network(layer("StringLookup", vocabulary="/etc/passwd"))),
        "vocabulary from '/etc/passwd'",
    ),
    "vocabulary by address": (
        keras(network(layer("TextVectorization", vocabulary="http://10.0.0.1/"))),
        "vocabulary from 'http://10.0.0.1/'",
    ),
    "size bomb": (
        keras(network(layer("Dense", units=1 << 40))),
        "hold 6 numbers where its layers need 1099511627776",
    ),
    "weights no HDF5": (keras(h5=PICKLE), "are not an HDF5 file"),
    "external link": (
        keras(h5=weights(_put("evil", h5py.ExternalLink("/etc/passwd", "/")))),
        "a link to '/etc/passwd",
    ),
    "soft link": (keras(h5=weights(_put("evil", h5py.SoftLink("/layers")))), "a link to"),
    "external storage": (keras(h5=weights(_outside)), "is stored in another file"),
    "virtual array": (keras(h5=weights(virtual)), "is stored in another file"),
    "promised array": (keras(h5=weights(_promise)), "of which 0 are stored"),
    "compressed array": (keras(h5=weights(_squeezed)), "are stored"),
    "texts": (keras(h5=weights(_texts)), "values of type object"),
    "named type": (keras(h5=weights(_put("evil", np.dtype("f4")))), "not an array"),
}

"""Models of formats that are no pickles, and run something all the same."""

import json
import marshal
import struct

from onnx import TensorProto, helper

from support.attacks import Attack
from support.attacks.containers import zipped


def _field(number: int, data: bytes) -> bytes:
    length, out = len(data), b""
    while length > 127:
        out += bytes([length & 127 | 128])
        length >>= 7
    return bytes([number << 3 | 2]) + out + bytes([length]) + data


def saved_model(operator: str, *, in_function: bool = False) -> bytes:
    """A saved_model.pb with one node."""
    node = _field(1, b"node") + _field(2, operator.encode())
    graph = (
        _field(2, _field(1, _field(1, _field(1, b"f")) + _field(3, node)))
        if in_function
        else _field(1, node)
    )
    return b"\x08\x01" + _field(2, _field(1, _field(4, b"serve")) + _field(2, graph))


def gguf(template: str) -> bytes:
    def text(value: str) -> bytes:
        data = value.encode()
        return struct.pack("<Q", len(data)) + data

    keys = [("general.architecture", "llama"), ("tokenizer.chat_template", template)]
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys)) + b"".join(
        text(key) + struct.pack("<I", 8) + text(value) for key, value in keys
    )  # fmt: skip


def onnx_model(domain: str = "", *, location: str | None = None, nested: bool = False) -> bytes:
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    if location is not None:
        weights.ClearField("float_data")
        weights.data_location = TensorProto.EXTERNAL
        entry = weights.external_data.add()
        entry.key, entry.value = "location", location
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    node = helper.make_node("Run" if domain else "Add", ["x", "w"], ["y"], domain=domain)
    if nested:
        inner = helper.make_graph([node], "inner", [], [out], [weights])
        node = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    graph = helper.make_graph([node], "g", [value], [out], [] if nested else [weights])
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=opsets).SerializeToString()


def keras(config: object, *, escaped: bool = False) -> bytes:
    text = json.dumps(config)
    if escaped:
        text = text.replace("Lambda", "L\\u0061mbda").replace("class_name", "class\\u005fname")
    return zipped(
        {
            "config.json": text.encode(),
            "metadata.json": b"{}",
            "model.weights.h5": b"\x89HDF\r\n\x1a\n" + bytes(64),
        }
    )


def skops(module: str, name: str, *, loader: str = "ObjectNode") -> bytes:
    node: dict[str, object] = {
        "__class__": name,
        "__module__": module,
        "__loader__": loader,
        "content": {},
        "__id__": 1,
    }
    if loader == "FunctionNode":
        node |= {
            "__class__": "function",
            "__module__": "builtins",
            "content": {"module_path": module, "function": name},
        }
    outer = {"__class__": "LogisticRegression", "__module__": "sklearn.linear_model._logistic", "__loader__": "ObjectNode",
             "content": {"__class__": "dict", "__module__": "builtins", "__loader__": "DictNode", "content": {"x": node}}}  # fmt: skip
    return zipped({"schema.json": json.dumps(outer).encode()})


TEMPLATES = {
    "globals": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "getitem": "{{ messages['__class__'] }}",
    "attr": "{{ messages|attr('__class__') }}",
    "joined": "{{ messages['__cla' ~ 'ss__'] }}",
    "lipsum": "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "cycler": "{{ cycler.__init__.__globals__.os.system('id') }}",
    "map": "{{ messages|map(attribute='__class__')|list }}",
    "mro": "{{ messages.mro }}",
    "self": "{{ self._TemplateReference__context }}",
    "format": "{{ '{0.__class__}'.format_map(messages) }}",
    "set": "{% set x = '__globals__' %}{{ messages[x] }}",
    "import": "{% import 'other' as o %}{{ o }}",
}


def formats() -> list[Attack]:
    """All of them; ``reaches`` is what the verdict must name."""
    made: list[Attack] = []

    def add(title: str, data: bytes, reaches: str) -> None:
        made.append(Attack(title, data, reaches))

    for operator in ("PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile", "MatchingFiles"):
        add(f"{operator}/saved_model.pb", saved_model(operator), operator)
        add(f"{operator}-in-function/saved_model.pb", saved_model(operator, in_function=True), operator)
    add("PyFunc-renamed.dat", saved_model("PyFunc"), "PyFunc")
    code = {"class_name": "__lambda__", "config": {"code": marshal.dumps(compile("1", "x", "eval")).hex()}}
    layer = {"module": "keras.layers", "class_name": "Lambda", "config": {"function": code}}
    model = {"module": "keras", "class_name": "Sequential", "config": {"layers": [layer]}}
    add("lambda.keras", keras(model), "Lambda")
    add("lambda-escaped.keras", keras(model, escaped=True), "Lambda")
    add("module.keras", keras({"module": "os", "class_name": "system", "config": {}}), "os.system")
    add(
        "function.keras",
        keras(
            {
                "module": "builtins",
                "class_name": "function",
                "config": "eval",
                "registered_name": "function",
            }
        ),
        "eval",
    )
    add(
        "foreign.keras",
        keras({"module": "somebody.layers", "class_name": "Layer", "config": {}}),
        "somebody.layers",
    )
    hdf5 = b"\x89HDF\r\n\x1a\n" + bytes(2048)
    add("lambda.h5", hdf5 + json.dumps(model).encode() + bytes(100), "Lambda")
    add("lambda-escaped.h5", hdf5 + b'{"class_name": "L\\u0061mbda"}' + bytes(100), "Lambda")
    add("lambda-user-block.h5", bytes(512) + hdf5 + json.dumps(model).encode(), "Lambda")
    add("lambda-at-a-border.h5", hdf5 + b" " * (1024 * 1024 - 2070) + json.dumps(model).encode(), "Lambda")
    add("custom.onnx", onnx_model("evil.ops"), "evil.ops")
    add("custom-renamed.bin", onnx_model("evil.ops"), "evil.ops")
    add("custom-nested.onnx", onnx_model("evil.ops", nested=True), "evil.ops")
    for index, location in enumerate(
        ("/etc/passwd", "../../secret", "a/../../b", "..\\b", "C:/x", "\\\\host\\x")
    ):
        add(f"outside-{index}.onnx", onnx_model(location=location), location)
    add("outside-nested.onnx", onnx_model(location="../x", nested=True), "../x")
    script = {
        "m/data.pkl": b"\x80\x02c__torch__\nM\n)\x81}b.", "m/constants.pkl": b"\x80\x02).",
        "m/code/__torch__.py": b"class M(Module):\n  def forward(self: __torch__.M, x: Tensor) -> Tensor:\n    return torch.from_file('x')\n",
    }  # fmt: skip
    add("file.pt", zipped(script), "from_file")
    script["m/code/__torch__.py"] = script["m/code/__torch__.py"].replace(
        b"torch.from_file('x')", b"ops.evil.run(x)"
    )
    add("operator.pt", zipped(script), "evil")
    auto = {"model_type": "x", "auto_map": {"AutoModel": "modeling_x.Model"}}
    add("remote/config.json", json.dumps(auto).encode(), "modeling_x.Model")
    add(
        "remote-elsewhere/config.json",
        json.dumps({"auto_map": {"AutoModel": "other/repo--m.M"}}).encode(),
        "other/repo--m.M",
    )
    add("remote/tokenizer_config.json", json.dumps(auto).encode(), "modeling_x.Model")
    for title, template in TEMPLATES.items():
        add(f"template-{title}.gguf", gguf(template), "way out of Jinja")
    add(
        "template/tokenizer_config.json",
        json.dumps({"chat_template": TEMPLATES["globals"]}).encode(),
        "way out of Jinja",
    )
    add(
        "templates/tokenizer_config.json",
        json.dumps({"chat_template": [{"name": "a", "template": TEMPLATES["attr"]}]}).encode(),
        "way out of Jinja",
    )
    add("chat_template.jinja", TEMPLATES["cycler"].encode(), "way out of Jinja")
    add("system.skops", skops("os", "system"), "os.system")
    add("unknown.skops", skops("somebody.package", "Thing"), "somebody.package.Thing")
    add("function.skops", skops("builtins", "eval", loader="FunctionNode"), "builtins.eval")
    add("operator.skops", skops("subprocess", "Popen", loader="OperatorFuncNode"), "subprocess.Popen")
    add("library.so", b"\x7fELF" + bytes(60), "ELF")
    add("renamed-library.bin", b"\x7fELF" + bytes(60), "ELF")
    add("library-in.pt", zipped({"m/lib.so": b"\x7fELF" + bytes(60)}), "ELF")
    add("module.pyc", b"\xa7\r\r\n" + bytes(20), "compiled code")
    add("start.pth", b"import os; os.system('id')\n", ".pth")
    return made

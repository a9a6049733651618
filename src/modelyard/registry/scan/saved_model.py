"""TensorFlow's saved_model.pb: operators that run Python, or read and write files.

Field numbers are those of tensorflow/core/protobuf/saved_model.proto and tensorflow/core/framework/graph.proto.
"""

from typing import Final

from modelyard.registry.scan.protobuf import Field, Messages
from modelyard.registry.scan.view import Report, View

NAME: Final = "a SavedModel"
NAMES: Final = frozenset({"saved_model.pb", "graph.pb", "frozen_graph.pb"})
_PYTHON: Final = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
_FILES: Final = frozenset(
    {"ReadFile", "WriteFile", "MatchingFiles", "WholeFileReader", "WholeFileReaderV2", "TextLineReader"}
    | {"TextLineReaderV2", "TFRecordReader", "TFRecordReaderV2", "FixedLengthRecordReader", "FixedLengthRecordReaderV2"}
    | {"TextLineDataset", "TFRecordDataset", "FixedLengthRecordDataset", "FixedLengthRecordDatasetV2", "SaveDataset"}
    | {"SaveDatasetV2", "LoadDataset", "SnapshotDataset", "SnapshotDatasetV2", "PrintV2", "DebugIdentityV2"}
    | {"WriteSummary", "CreateSummaryFileWriter", "CreateSummaryDbWriter", "WriteAudioSummary", "RpcCall", "RpcClient"}
    | {"RpcServer", "DataServiceDataset", "DataServiceDatasetV2", "SqlDataset", "ExecuteTPUEmbeddingPartitioner"}
    | {"GenerateBigQueryReaderPartitions", "BigQueryReader", "LMDBReader", "LMDBDataset", "DumpGraph", "LoadLibrary"}
) - {"PrintV2"}  # fmt: skip


def looks(view: View) -> bool:
    """By its name, or by its fields: a schema version and graphs, the first with a MetaInfoDef."""
    if view.name.lower() in NAMES:
        return True
    if view.head[:2] != b"\x08\x01" or view.head[2:3] != b"\x12" or view.source.size < 16:
        return False
    try:
        return {field.number for field in Messages(view.source).fields(0, view.source.size)} == {1, 2}
    except ValueError:
        return False


def scan(view: View, report: Report) -> None:
    messages = Messages(view.source)
    if view.name.lower() in NAMES - {"saved_model.pb"}:
        _graph(messages, Field(2, 2, 0, 0, view.source.size), report)
        return
    for field in messages.fields(0, view.source.size):
        if field.number == 2:
            for each in messages.message(field):
                if each.number == 2:
                    _graph(messages, each, report)


def _graph(messages: Messages, field: Field, report: Report) -> None:
    for each in messages.message(field):
        if each.number == 1:
            _node(messages, each, report)
        elif each.number == 2:
            for function in messages.message(each):
                if function.number == 1:
                    for part in messages.message(function):
                        if part.number == 3:
                            _node(messages, part, report)


def _node(messages: Messages, field: Field, report: Report) -> None:
    for each in messages.message(field):
        if each.number == 2:
            operator = messages.text(each)
            if operator in _PYTHON:
                report.add("executes", f"a SavedModel that calls Python: {operator}", each.start, operator)
            elif operator in _FILES:
                report.add("executes", f"a SavedModel that reaches for files or the network: {operator}", each.start, operator)  # fmt: skip

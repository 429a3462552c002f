"""YAML as Kubernetes reads it: several documents in one text, JSON's types only, no key twice.

PyYAML's safe loader alone would make dates of `2024-01-01`, take a key twice without a word, and let a few
lines of aliases unfold into gigabytes; a real API server does none of these.

Sources: YAML 1.1; sigs.k8s.io/yaml (YAMLToJSONStrict).
"""

from __future__ import annotations

from typing import Any

import yaml

ALIAS_LIMIT = 1_000_000  # nodes, aliases unfolded
DEPTH_LIMIT = 500


class YamlError(ValueError):
    """A text that is no YAML, or not of the kind that we take; `line` counts from 1 in the whole text."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader without dates, and with a word for keys that come twice."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _mapping(loader: Any, node: yaml.MappingNode) -> dict[str, Any]:
    loader.flatten_mapping(node)
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            key = _key_text(key, key_node)
        if key in result:
            raise YamlError(key_node.start_mark.line + 1, f'key "{key}" already set in map')
        result[key] = loader.construct_object(value_node, deep=True)
    return result


def _key_text(key: Any, node: yaml.Node) -> str:
    """JSON has only texts as keys: `1:` and `true:` become texts."""
    if isinstance(key, bool):
        return str(key).lower()
    if isinstance(key, (int, float)):
        return str(key)
    raise YamlError(node.start_mark.line + 1, "a key must be a string")


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def load_documents(text: str) -> list[tuple[int, Any]]:
    """The non-empty documents as (line on which it starts, value). Raises YamlError."""
    try:
        _check_depth(text)
        loader = _Loader(text)
        documents = []
        while loader.check_node():
            node = loader.get_node()
            _check_size(node, {})
            value = loader.construct_document(node)
            if value is not None:
                documents.append((node.start_mark.line + 1, value))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = min(mark.line, text.count("\n")) + 1 if mark else 1
        raise YamlError(line, error.problem or str(error)) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, YamlError):
            raise
        raise YamlError(1, str(error).splitlines()[0] if str(error) else "cannot be read") from error
    return documents


def _check_depth(text: str) -> None:
    """Look at the nesting before anything is built: the loader goes down in C, where too deep is the process's end."""
    if len(text) <= DEPTH_LIMIT:
        return
    loader, depth = _Loader(text), 0
    while loader.check_event():
        event = loader.get_event()
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_LIMIT:
            raise YamlError(event.start_mark.line + 1, "too deeply nested")


def _check_size(node: yaml.Node, known: dict[int, int]) -> int:
    """The number of nodes once aliases are unfolded."""
    size = known.get(id(node))
    if size is not None:
        return size
    known[id(node)] = ALIAS_LIMIT  # a node inside itself
    size = 1
    if isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    else:
        children = node.value if isinstance(node, yaml.SequenceNode) else []
    for child in children:
        size += _check_size(child, known)
    if size > ALIAS_LIMIT:
        raise YamlError(node.start_mark.line + 1, "too many nodes: aliases unfold without end")
    known[id(node)] = size
    return size


def dump(value: Any) -> str:
    """A value as kubectl prints YAML: keys sorted, blocks, no aliases."""
    return str(yaml.dump(value, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, width=10**6))


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes shared parts out in full."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always."""
        return True

"""The text of --help: a script's docstring and flags, and the fields of its config with their meanings and defaults.

The meaning of a field is the comment at its assignment in configs/, above the line or at its end. --help reads it from
there, so that it is written only once.
"""

import ast
import io
import textwrap
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

from ml_collections import ConfigDict

from experiments.common.workdir import flat_fields

_CONFIGS = Path(__file__).parents[2] / "configs"
_WIDTH = 110


def usage(about: str, flags: Mapping[str, str], path: str, config: ConfigDict) -> str:
    """The text of --help.

    Args:
        about: The docstring of the script.
        flags: The meanings of its flags, by name.
        path: The path of the config, which may end in a colon and a name.
        config: The fields of the config.
    """
    parts = [about.strip(), "Flags:"]
    parts += [_entry(f"--{name}", meaning) for name, meaning in flags.items()]
    parts.append(f"Fields of {path}:")
    found = meanings(Path(path.partition(":")[0]))
    shown = None
    for name, value in flat_fields(config.to_dict()).items():
        meaning = meaning_of(name, found)
        # Neighbouring fields that share a meaning, such as the arguments of a network, show it once.
        parts.append(
            _entry(f"--config.{name}={'unset' if value is None else value}", "" if meaning == shown else meaning)
        )
        shown = meaning
    return "\n\n".join(parts)


def meanings(path: Path) -> dict[str, str]:
    """Comments of the fields that a config file assigns, itself or in a config that it starts from.

    Where several files assign a field, the comment of the first file is its meaning. Later comments say why a value was
    chosen.

    Example:
        >>> meanings(_CONFIGS / "convergence_mlp_relu.py")["network.depth"]
        'Number of hidden layers.'
        >>> meanings(_CONFIGS / "convergence_mlp_relu.py")["num_seeds"]
        'Random networks per width.'
    """
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    found: dict[str, str] = {}
    for base in _bases(tree):
        found = meanings(_CONFIGS / f"{base}.py") | found
    comments = _comments(source)
    for field, line, end in _assigned(tree):
        comment = _comment_at(comments, line, end)
        if comment:
            found.setdefault(field, comment)
    return found


def meaning_of(field: str, found: Mapping[str, str]) -> str:
    """The meaning of a field, or of the nearest group around it that has one; empty without any.

    Example:
        >>> meaning_of("network.depth", {"network": "Arguments of the network."})
        'Arguments of the network.'
    """
    while field not in found and "." in field:
        field = field.rpartition(".")[0]
    return found.get(field, "")


def _entry(name: str, meaning: str) -> str:
    text = textwrap.fill(meaning, _WIDTH, initial_indent=6 * " ", subsequent_indent=6 * " ")
    return f"  {name}\n{text}".rstrip()


def _bases(tree: ast.Module) -> Iterator[str]:
    """Names of configs that `NAME.get_config()` starts from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "get_config" and isinstance(node.value, ast.Name):
            yield node.value.id


def _assigned(tree: ast.Module) -> Iterator[tuple[str, int, int]]:
    """Assigned fields of `config`, with the first and the last line on which a comment can stand beside each."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            root, *names = ast.unparse(node.targets[0]).split(".")
            if root == "config":
                field = ".".join(names)
                yield field, node.lineno, node.end_lineno or node.lineno
                yield from _entries(field, node.value)


def _entries(field: str, value: ast.expr) -> Iterator[tuple[str, int, int]]:
    """The entries of a dictionary that is written out, with the same two lines for each."""
    if isinstance(value, ast.Call) and value.args:
        value = value.args[0]
    if isinstance(value, ast.Dict):
        for key, entry in zip(value.keys, value.values, strict=True):
            if isinstance(key, ast.Constant):
                inner = f"{field}.{key.value!s}"
                yield inner, key.lineno, entry.end_lineno or key.lineno
                yield from _entries(inner, entry)


def _comments(source: str) -> dict[int, tuple[str, bool]]:
    """Comments by line, and whether each has its line to itself."""
    return {
        token.start[0]: (token.string.lstrip("# "), not token.line[: token.start[1]].strip())
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }


def _comment_at(comments: Mapping[int, tuple[str, bool]], line: int, end: int) -> str:
    """The comment at the end of the line, or the lines of comment above it."""
    for own in (line, end):
        text, alone = comments.get(own, ("", True))
        if not alone:
            return text
    above: list[str] = []
    while comments.get(line - 1, ("", False))[1]:
        line -= 1
        above.insert(0, comments[line][0])
    return " ".join(above)

"""One schema from one text, or from a file and all that it imports."""

import posixpath
from collections.abc import Callable, Sequence
from dataclasses import replace

from schema.errors import Problems, Source, hint, quote
from schema.model import Relation
from schema.parse import parse
from schema.syntax import CaveatNode, DefinitionNode, Import, Item, Member, Partial, SchemaNode, Use
from schema.tokens import FLAGS, scan

FILES_MAX = 1_000


def read_text(source: Source, problems: Problems) -> list[Item]:
    """The items of a text that may not import anything."""
    items = _read(source, problems)
    for item in items:
        if isinstance(item, Import):
            message = "imports are not allowed in this context: compile the files into one schema first"
            problems.parse("import-not-allowed", message, item.position)
    return items


class FileReader:
    """Reads a file and what it imports, each once. Imported items come before the importing file's own."""

    def __init__(self, read: Callable[[str], str]) -> None:
        """``read`` gives the text of a path relative to the first file's folder; `OSError` where it cannot."""
        self._read = read
        self.sources: list[Source] = []
        self.problems = Problems()
        self._items: dict[str, list[Item]] = {}

    def run(self, path: str) -> Sequence[Item]:
        """All items."""
        finished: dict[str, None] = {}
        opened: list[str] = []
        todo: list[tuple[str, bool]] = [(path, True)]
        self._open(path, None)
        while todo:
            file, first = todo.pop()
            if not first:
                opened.pop()
                finished[file] = None
                continue
            if file in finished:
                continue
            opened.append(file)
            todo.append((file, False))
            imports = [item for item in self._items[file] if isinstance(item, Import)]
            for one in reversed(imports):
                target = self._target(file, one)
                if target is None or target in finished:
                    continue
                if target in opened:
                    way = " imports ".join(f"`{name}`" for name in (*opened[opened.index(target) :], target))
                    self.problems.parse("circular-import", f"files import each other: {way}", one.position)
                elif target in self._items or self._open(target, one):
                    todo.append((target, True))
        return [item for file in finished for item in self._items[file]]

    def _open(self, path: str, importer: Import | None) -> bool:
        if len(self.sources) >= FILES_MAX:
            if importer is not None:
                message = f"more than {FILES_MAX} files are imported"
                self.problems.parse("too-many-files", message, importer.position)
            return False
        try:
            text = self._read(path)
        except (OSError, UnicodeDecodeError) as error:
            if importer is None:
                raise
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no UTF-8 text"
            message = f"cannot read {quote(path)}: {reason.lower()}"
            self.problems.parse("unreadable-import", message, importer.position)
            return False
        before = self.sources[-1].lines_before + len(self.sources[-1].line_starts) if self.sources else 0
        self.sources.append(Source(text, path, before))
        found, self.problems = self.problems.found, Problems(*self.sources)
        self.problems.found = found
        self._items[path] = _read(self.sources[-1], self.problems)
        return True

    def _target(self, importer: str, item: Import) -> str | None:
        """The path that an import means, relative to the first file's folder."""
        if item.path.startswith("/") or ".." in item.path or "\\" in item.path or not item.path.strip():
            message = f"cannot import {quote(item.path)}: a path is relative to the importing file and has no `..`"
            self.problems.parse("invalid-import", message, item.position)
            return None
        return posixpath.normpath(posixpath.join(posixpath.dirname(importer), item.path))


def _read(source: Source, problems: Problems) -> list[Item]:
    node = parse(scan(source), problems)
    _check_flags(node, problems)
    if any(isinstance(item, Use) and item.flag == "typechecking" for item in node.items):
        return list(node.items)
    return [_without_annotations(item) for item in node.items]


def _check_flags(node: SchemaNode, problems: Problems) -> None:
    begun = False
    for item in node.items:
        if isinstance(item, DefinitionNode | CaveatNode):
            begun = True
        elif isinstance(item, Use):
            if item.flag not in FLAGS:
                known = ", ".join(f"`{flag}`" for flag in FLAGS)
                message = f"unknown flag {quote(item.flag)}{hint(item.flag, FLAGS)}; there are {known}"
                problems.parse("unknown-flag", message, item.position)
            elif begun:
                message = "`use` must come before the first definition and caveat"
                problems.parse("misplaced-use", message, item.position)


def _without_annotations(item: Item) -> Item:
    """Annotations mean nothing in a file that does not ask for them to be checked."""
    if not isinstance(item, DefinitionNode | Partial):
        return item
    if not any(isinstance(member, Relation) and member.annotation for member in item.members):
        return item
    members: list[Member] = [
        replace(member, annotation=()) if isinstance(member, Relation) else member for member in item.members
    ]
    return replace(item, members=tuple(members))

"""Finds out what a pickle would do, without doing it.

A pickle is a program for a small stack machine. `dry_run` goes through that program with names in the place of classes
and functions and with sizes in the place of memory. So every call and every byte that it would ask for is known before
torch's own `weights_only` reader gets it. That reader refuses foreign code by itself. The dry run also refuses calls
that are harmful only by their size, such as a tensor larger than its file.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from typing import IO, Any, NamedTuple

from .pickle_stand_ins import MAPPINGS, OBJECTS

STORAGES = {  # class of a storage -> bytes of one element
    "torch.DoubleStorage": 8,
    "torch.FloatStorage": 4,
    "torch.HalfStorage": 2,
    "torch.BFloat16Storage": 2,
    "torch.LongStorage": 8,
    "torch.IntStorage": 4,
    "torch.ShortStorage": 2,
    "torch.CharStorage": 1,
    "torch.ByteStorage": 1,
    "torch.BoolStorage": 1,
    "torch.ComplexFloatStorage": 8,
    "torch.ComplexDoubleStorage": 16,
}
_DTYPES = {f"torch.{kind}{bits}" for kind in ("float", "int", "bfloat", "complex") for bits in (8, 16, 32, 64, 128)}
_VALUES = {*STORAGES, *_DTYPES, "torch.uint8", "torch.bool"}  # may be named, not called


class Global(NamedTuple):
    """A class or function, by name."""

    name: str


class Made(NamedTuple):
    """The result of a call of the named class or function; name "": a list, dictionary or set."""

    by: str


class Storage(NamedTuple):
    """Memory that tensors of the pickle lie in."""

    key: str
    numel: int
    itemsize: int

    @property
    def nbytes(self) -> int:
        return self.numel * self.itemsize


class Claims(NamedTuple):
    """What a pickle asks for."""

    storages: dict[str, Storage]
    tensor_bytes: int  # of all tensors, were each copied to memory of its own


def dry_run(stream: IO[bytes]) -> Claims:
    """Go through the next pickle of a stream, to its end and no further.

    Raises ValueError, with the reason in a few words, for a damaged pickle and for one that asks for something
    forbidden.
    """
    machine = _Machine()
    try:
        claims = machine.run(stream)
    except (IndexError, KeyError, UnicodeDecodeError) as error:  # a stack or memo that never held what is asked of it
        raise ValueError("its pickle is damaged") from error
    except ValueError:
        if not machine.unknown:
            raise
    if machine.unknown:
        names = ", ".join(machine.unknown[:3])
        raise ValueError(f"it holds objects of {names}, which are neither tensors nor known settings")
    return claims


class _Machine:
    """The stack machine of `torch.load(weights_only=True)`; these are its instructions."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.tensor_bytes = 0
        self.unknown: list[str] = []

    def run(self, stream: IO[bytes]) -> Claims:
        for op, argument, _ in pickletools.genops(stream):
            self.step(op.name, argument)
        return Claims(self.storages, self.tensor_bytes)

    def step(self, op: str, argument: Any) -> None:
        stack = self.stack
        match op:
            case "PROTO":
                if argument != 2:
                    raise ValueError(f"its pickle is of protocol {argument}, and torch.save writes 2")
            case "STOP":
                pass
            case "MARK":
                self.marks.append(stack)
                self.stack = []
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[op])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE" | "SHORT_BINSTRING":
                stack.append(argument)
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_SET":
                stack.append(Made(""))
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(op[-1])
                stack.append(tuple(stack.pop() for _ in range(count))[::-1])
            case "TUPLE":
                items = self.to_mark()
                self.stack.append(tuple(items))
            case "APPEND":
                stack.pop()
            case "SETITEM":
                stack.pop(), stack.pop()
            case "APPENDS" | "SETITEMS":
                self.to_mark()
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "GLOBAL":
                stack.append(self.named(argument))
            case "REDUCE" | "NEWOBJ":
                given, called = stack.pop(), stack.pop()
                stack.append(self.call(called, given))
            case "BUILD":
                stack.pop()
                if not isinstance(stack[-1], Made) or stack[-1].by not in _MAY_BE_BUILT:
                    raise ValueError("it gives a state to an object without one")
            case "BINPERSID":
                stack.append(self.storage(stack.pop()))
            case _:
                raise ValueError(f"its pickle has the instruction {op}, which torch.save does not write")

    def to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def named(self, argument: str) -> Global:
        module, _, name = argument.partition(" ")
        full = f"{'builtins' if module == '__builtin__' else module}.{name}"
        if full not in _CALLS and full not in _VALUES and full not in self.unknown:
            self.unknown.append(full)
        return Global(full)

    def call(self, called: Any, given: Any) -> Any:
        if not isinstance(called, Global) or not isinstance(given, tuple):
            raise ValueError("it calls something that is no function")
        if called.name in self.unknown:
            return Made("")
        if called.name not in _CALLS:
            raise ValueError(f"it calls {called.name}, which torch.save does not")
        if check := _CALLS[called.name]:
            check(self, given)
        return Made(called.name)

    def storage(self, asked: Any) -> Storage:
        """("storage", class, key, device, elements), in old files with a None behind."""
        match asked:
            case ("storage", Global(kind), str(key), str(), int(numel), *rest) if rest in ([], [None]) and numel >= 0:
                if kind in STORAGES:
                    storage = Storage(key, numel, STORAGES[kind])
                    if self.storages.setdefault(key, storage) == storage:
                        return storage
        raise ValueError("it asks for memory in a way that torch.save does not")

    def tensor(self, given: tuple) -> None:
        """(storage, offset, size, stride, ...), offset and strides in elements."""
        match given:
            case (Storage() as storage, int(offset), tuple(size), tuple(stride), *_) if len(size) == len(stride):
                if all(type(n) is int and n >= 0 for n in (offset, *size, *stride)):
                    numel = math.prod(size)
                    end = offset + sum((n - 1) * step for n, step in zip(size, stride)) + 1 if numel else 0
                    if max(numel, end) > storage.numel:
                        raise ValueError(f"a tensor of size {size} does not fit the {storage.numel} numbers it is in")
                    self.tensor_bytes += numel * storage.itemsize
                    return
        raise ValueError("a tensor is described in a way that torch.save does not")

    def text(self, given: tuple) -> None:
        """Bytes are pickled as text in latin1; other codecs make more of less."""
        if len(given) != 2 or given[1] != "latin1":
            raise ValueError("it encodes text in a way that torch.save does not")


_CALLS: dict[str, Callable[[_Machine, tuple], None] | None] = {  # what may be called, and how its arguments are checked
    "torch._utils._rebuild_tensor_v2": _Machine.tensor,
    "torch._utils._rebuild_tensor": _Machine.tensor,
    "torch._utils._rebuild_parameter": None,
    "torch.Size": None,
    "torch.device": None,
    "collections.OrderedDict": None,
    "collections.Counter": None,
    "builtins.set": None,
    "_codecs.encode": _Machine.text,
    **dict.fromkeys((*MAPPINGS, *OBJECTS)),
}
_MAY_BE_BUILT = {"", "collections.OrderedDict", *MAPPINGS, *OBJECTS}

"""The data in a pickle, without unpickling it: a reader of opcodes that never imports or calls anything.

The CIFAR batches are pickles, and loading a pickle runs whatever it names. Here a stack machine goes through the opcodes
that :mod:`pickletools` finds and builds numbers, texts, lists and dictionaries. Where the file asks for a call, the
request itself (a name and arguments) becomes a value; two of them, NumPy's array of unsigned bytes and the text encoding
of protocol 2, are then read by what they mean. Any other opcode or request is an error. By hand, because torchvision
loads these files by :mod:`pickle`.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass, field
from typing import IO, Any

from vitfaith.errors import ArtifactError
from vitfaith.lazy import np

_VALUES = {
    "BININT", "BININT1", "BININT2", "LONG1", "SHORT_BINSTRING", "BINSTRING", "SHORT_BINBYTES", "BINBYTES",
    "BINUNICODE", "SHORT_BINUNICODE", "BINFLOAT",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()
_DAMAGED = (
    ValueError, IndexError, KeyError, TypeError, AttributeError, StopIteration, RecursionError, MemoryError, OverflowError,
)  # fmt: skip
_ARRAYS = {f"numpy.{core}.multiarray _reconstruct" for core in ("core", "_core")}


@dataclass(frozen=True)
class Named:
    """A thing that the file refers to by module and name; never imported."""

    name: str


@dataclass
class Request:
    """A call that the file asks for; never made."""

    name: str
    arguments: tuple[Any, ...]
    state: list[Any] = field(default_factory=list)


def read_plain_pickle(file: IO[bytes], where: str) -> Any:
    """The value in a pickle of plain data and arrays of unsigned bytes.

    Texts of Python 2 come out as bytes.

    Raises:
        ArtifactError: the file is no pickle, is cut off, or asks for anything else than such data.
    """
    try:
        return _meaning(_run(file), where)
    except ArtifactError:
        raise
    except _DAMAGED as error:
        raise ArtifactError(f"'{where}' is damaged or no batch of pickled data ({error}); fetch it again") from error


def _run(file: IO[bytes]) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        place = len(stack) - 1 - next(i for i, v in enumerate(reversed(stack)) if v is _MARK)
        items = stack[place + 1 :]
        del stack[place:]
        return items

    argument: Any
    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in _VALUES:
            stack.append(argument.encode("latin1") if "STRING" in name else argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            count = _TUPLES[name]
            last = tuple(stack[len(stack) - count :])
            del stack[len(stack) - count :]
            stack.append(last)
        elif name in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append([] if name == "EMPTY_LIST" else {})
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name == "APPEND":
            item = stack.pop()
            stack[-1].append(item)
        elif name == "APPENDS":
            items = since_mark()
            stack[-1].extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            pairs = since_mark() if name == "SETITEMS" else [stack.pop() for _ in range(2)][::-1]
            stack[-1].update(zip(pairs[::2], pairs[1::2], strict=True))
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "GLOBAL":
            stack.append(Named(argument))
        elif name == "REDUCE":
            arguments, called = stack.pop(), stack.pop()
            request = Request(called.name, tuple(arguments))
            # Python 3 writes bytes into protocol 2 as a text and its encoding
            encoded = request.name == "_codecs encode" and request.arguments[1:] == ("latin1",)
            stack.append(request.arguments[0].encode("latin1") if encoded else request)
        elif name == "BUILD":
            state = stack.pop()
            stack[-1].state.append(state)
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"opcode {name}, which plain data does not need")
    raise ValueError("it ends early")


def _text(value: Any) -> Any:
    return value.decode("ascii") if isinstance(value, bytes) else value


def _meaning(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        return {_meaning(k, where): _meaning(v, where) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_meaning(v, where) for v in value)
    if isinstance(value, Request) and value.name in _ARRAYS and len(value.state) == 1:
        return _array(value)
    if isinstance(value, Request | Named):
        raise ArtifactError(
            f"'{where}' asks to call '{value.name}', which no dataset needs; it was not done: fetch the file again"
        )
    return value


def _array(request: Request) -> np.ndarray:
    _, shape, dtype, fortran, content = request.state[0]
    kind = _text(dtype.arguments[0])
    if dtype.name != "numpy dtype" or kind not in ("u1", "|u1"):
        raise ValueError(f"an array of {kind} where unsigned bytes are expected")
    return np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")

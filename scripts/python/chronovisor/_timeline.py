"""A recording as an object: where it stands, what is there, and who did it."""
from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ._client import ApiError, Client, Error, find_program
from ._methods import Address, InfoAnswer, Methods, Place, ReplicationAnswer, RunAnswer, StepAnswer, WhereAnswer

_MOST_BYTES = 65536


class NoRegister(Error, AttributeError):
    """The interface has no register of this name."""


class Unreadable(Error, LookupError):
    """Not all of this memory is there."""


def _number(text: str | None) -> int | None:
    return None if text is None else int(text, 16)


@dataclass(frozen=True)
class Arrival:
    """The machine is about to execute an instruction."""
    position: int
    pc: int
    symbol: str | None
    #: The address space
    cr3: int


@dataclass(frozen=True)
class Write:
    """Memory is written; `position` is just before."""
    position: int
    pc: int
    symbol: str | None
    cr3: int
    #: The first watched byte that is written
    address: int
    by: Literal["instruction", "delivery", "device"]
    #: That writes by itself, by DMA
    device: str | None = None


@dataclass(frozen=True)
class ValueChange(Write):
    """A write that changes a variable."""
    before: int | None = None
    after: int | None = None


@dataclass(frozen=True)
class Move:
    """The machine stands elsewhere."""
    where: WhereAnswer
    #: Who moved it
    by: Literal["you", "program", "page", "agent", "gdb"]


@dataclass(frozen=True)
class Store:
    """A write with what was there before and after."""
    position: int
    pc: int
    symbol: str | None
    address: int
    before: str
    after: str
    device: str | None = None


@dataclass(frozen=True)
class Read:
    """Memory is read."""
    position: int
    pc: int
    symbol: str | None
    address: int


@dataclass(frozen=True)
class Frame:
    """One frame of a call stack."""
    pc: int
    symbol: str | None
    sp: int
    by: str
    interrupted: bool


class Backtrace(list[Frame]):
    """A call stack, the innermost frame first."""

    def __init__(self, frames: Iterable[Frame], ended: str, why: str | None) -> None:
        super().__init__(frames)
        #: Why the last frame is the last: "outermost", "no-frame-pointer"
        self.ended = ended
        #: The same in words, where frames are missing
        self.why = why


@dataclass(frozen=True)
class ConsolePiece:
    """What the guest wrote to a console, at once."""
    position: int
    channel: str
    text: str


class Registers:
    """The registers where the machine stood when they were asked for: registers.rip.

    `all` has everything that the interface gives, segments too.
    """

    def __init__(self, answer: dict[str, Any]) -> None:
        self.all = answer

    def __getattr__(self, name: str) -> int:
        value = self.__dict__.get("all", {}).get(name)
        if not isinstance(value, (int, str)):
            numbers = [known for known, what in self.__dict__.get("all", {}).items() if isinstance(what, (int, str))]
            raise NoRegister(f"there is no number {name!r}; there are {', '.join(numbers)}")
        return int(value, 16) if isinstance(value, str) else value

    def __repr__(self) -> str:
        return f"<registers rip={self.rip:#x} rsp={self.rsp:#x} rax={self.rax:#x}>"


class Memory:
    """The guest's memory where the machine stands: memory[a:b] gives bytes, memory[a] one of
    them. Addresses may be symbols for the methods."""

    def __init__(self, api: Methods, physical: bool = False) -> None:
        self._api = api
        self._physical = physical

    def read(self, address: Address, length: int) -> bytes:
        """:raises Unreadable: when not all of it can be read"""
        base: int | None = address if isinstance(address, int) else None
        out = b""
        while len(out) < length:
            piece = min(length - len(out), _MOST_BYTES)
            place = address if base is None else base + len(out)
            answer = self._api.read_memory(place, length=piece, physical=self._physical)
            base = int(answer["address"], 16) - len(out)
            out += bytes.fromhex(answer["bytes"])
            if answer["unreadable"] is not None:
                raise Unreadable(f"{answer['unreadable']} is no memory here")
        return out

    def u8(self, address: Address) -> int:
        """An unsigned number of 8 bits."""
        return self._integer(address, 1)

    def u16(self, address: Address) -> int:
        """An unsigned number of 16 bits."""
        return self._integer(address, 2)

    def u32(self, address: Address) -> int:
        """An unsigned number of 32 bits."""
        return self._integer(address, 4)

    def u64(self, address: Address) -> int:
        """An unsigned number of 64 bits."""
        return self._integer(address, 8)

    def text(self, address: Address, limit: int = 4096) -> str:
        """Up to the NUL."""
        answer = self._api.read_memory(address, length=min(limit, _MOST_BYTES), physical=self._physical)
        return bytes.fromhex(answer["bytes"]).split(b"\0")[0].decode(errors="replace")

    def _integer(self, address: Address, length: int) -> int:
        return int.from_bytes(self.read(address, length), "little")

    def __getitem__(self, place: int | slice) -> Any:
        if not isinstance(place, slice):
            return self.read(place, 1)[0]
        if place.start is None or place.stop is None or place.step not in (None, 1):
            raise ValueError("memory[from:to], both given")
        return self.read(place.start, max(place.stop - place.start, 0))


class Screen:
    """What the guest's screen shows."""

    def __init__(self, width: int, height: int, text: list[str], png: bytes) -> None:
        #: Pixels
        self.width = width
        #: Pixels
        self.height = height
        #: The lines of a text mode; none in others
        self.text = text
        #: The picture as a PNG file has it
        self.png = png

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the picture as a PNG file."""
        with open_file(path, "wb") as file:
            file.write(self.png)

    def _repr_png_(self) -> bytes:
        """A notebook shows it."""
        return self.png


open_file = open


class Timeline:
    """A recording that is open. It stands somewhere; what it shows is what is there."""

    def __init__(self, client: Client) -> None:
        self._client = client
        #: The interface as it is.
        self.api = Methods(client)
        self.memory = Memory(self.api)
        self.physical_memory = Memory(self.api, physical=True)

    def __enter__(self) -> Timeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the session."""
        self._client.close()

    # -- where it is, and going elsewhere ------------------------------------------------

    @property
    def replication(self) -> ReplicationAnswer:
        """How the replicated run stands that makes the recording (`--control`)."""
        return self.api.replication()

    @property
    def info(self) -> InfoAnswer:
        """What was recorded."""
        return self.api.info()

    @property
    def where(self) -> WhereAnswer:
        """Where the machine stands."""
        return self.api.where()

    @property
    def position(self) -> int:
        """Steps since power-on."""
        return self.where["position"]

    def moves(self) -> Iterator[Move]:
        """Each time that anybody moves the machine from this call on, this session ("you")
        included; waits for the next one."""
        self._client.follow()
        return self._next_moves()

    def _next_moves(self) -> Iterator[Move]:
        while True:
            move = self._client.next_move()
            yield Move(move["where"], move["by"])

    def seek(self, place: Place) -> WhereAnswer:
        """Goes to a position, "start", "end", "+N", "-N", "packet:N", a bookmark, or to where a
        function was entered last: seek("panic"), or "function:panic" where a bookmark is called so."""
        if isinstance(place, int) and (isinstance(place, bool) or place < 0):
            raise ValueError(f"{place} is no position; to go back from here: seek(\"-1000\")")
        return self.api.seek(place)

    def step(self, count: int = 1) -> StepAnswer:
        """So many instructions on."""
        return self.api.step(count=count)

    def reverse_step(self, count: int = 1) -> StepAnswer:
        """So many instructions back."""
        return self.api.step(count=count, direction="backward")

    def run(self, until: Address | None = None) -> RunAnswer:
        """On to the next breakpoint, or the end."""
        return self.api.run(until=until)

    def reverse_run(self, until: Address | None = None) -> RunAnswer:
        """Back to the breakpoint before, or the start."""
        return self.api.run(direction="backward", until=until)

    def breakpoint(self, address: Address, condition: str | None = None) -> int:
        """:returns: its number, for remove()"""
        return self.api.set_breakpoint(address, condition=condition)["id"]

    def watch(self, address: Address, length: int = 8, kind: Literal["write", "read", "access"] = "write",
              condition: str | None = None) -> int:
        """:returns: its number, for remove()"""
        return self.api.set_breakpoint(address, kind=kind, length=length, condition=condition)["id"]

    def remove(self, number: int) -> None:
        """Takes a breakpoint or watchpoint off."""
        self.api.delete_breakpoint(number)

    # -- what is there -------------------------------------------------------------------

    @property
    def registers(self) -> Registers:
        """The processor's registers."""
        return Registers(self.api.registers())  # type: ignore[arg-type]

    def backtrace(self, limit: int = 32) -> Backtrace:
        """The call stack, the innermost frame first; its `why` says what it lacks."""
        answer = self.api.backtrace(limit=limit)
        return Backtrace((Frame(int(f["pc"], 16), f["symbol"], int(f["sp"], 16), f["by"], f["interrupted"])
                          for f in answer["frames"]), answer["ended"], answer["why"])

    def disassemble(self, address: Address | None = None, count: int = 10) -> list[str]:
        """Instructions, a line each."""
        return [f"{line['address']} {line['symbol'] or ''}: {line['text']}"
                for line in self.api.disassemble(address=address, count=count)["instructions"]]

    def screen(self) -> Screen:
        """What the guest's screen shows."""
        answer = self.api.screen()
        return Screen(answer["width"], answer["height"], answer["text"], base64.b64decode(answer["png"] or ""))

    def symbol(self, name: str) -> int:
        """The address of a symbol."""
        return int(self.api.symbol(name)["address"], 16)

    # -- what happened -------------------------------------------------------------------

    def _pages(self, method: str, member: str, parameters: dict[str, Any]) -> Iterator[Any]:
        """All entries of an answer in pages; each page is asked for when it is needed."""
        cursor = None
        while True:
            answer = self._client.call(method, {**parameters, "cursor": cursor})
            yield from answer[member]
            cursor = answer["next"]
            if cursor is None:
                return

    def writes(self, address: Address, length: int = 1, *, start: Place | None = None, end: Place | None = None,
               physical: bool = False) -> Iterator[Write]:
        """Each write into a range of memory, from first to last; found while one iterates."""
        given = {"address": address, "length": length, "from": start, "to": end, "physical": physical}
        for entry in self._pages("writes", "results", given):
            yield Write(entry["position"], int(entry["pc"], 16), entry["symbol"], int(entry["cr3"], 16),
                        int(entry["address"], 16), entry["by"], entry.get("device"))

    def executes(self, address: Address, length: int = 1, *, start: Place | None = None,
                 end: Place | None = None) -> Iterator[Arrival]:
        """Each arrival at an instruction, from first to last; found while one iterates."""
        given = {"address": address, "length": length, "from": start, "to": end}
        for entry in self._pages("executes", "results", given):
            yield Arrival(entry["position"], int(entry["pc"], 16), entry["symbol"], int(entry["cr3"], 16))

    def values(self, address: Address, length: int = 8, *, start: Place | None = None,
               end: Place | None = None) -> Iterator[ValueChange]:
        """Each change of a variable, from first to last; found while one iterates."""
        given = {"address": address, "length": length, "from": start, "to": end}
        for entry in self._pages("values", "results", given):
            yield ValueChange(entry["position"], int(entry["pc"], 16), entry["symbol"], int(entry["cr3"], 16),
                              int(entry["address"], 16), entry["by"], entry.get("device"),
                              _number(entry.get("before")), _number(entry.get("after")))

    def reads(self, address: Address, length: int = 8, count: int = 10) -> list[Read]:
        """The latest reads before here, the latest first."""
        return [Read(r["position"], int(r["pc"], 16), r["symbol"], int(r["address"], 16))
                for r in self.api.reads(address, length=length, count=count)["reads"]]

    def last_write(self, address: Address, length: int = 8, *, go: bool = False) -> Store | None:
        """Who wrote this: the latest write before here, or None. With `go` the machine goes to it."""
        try:
            return _store(self.api.last_write(address, length=length, go=go)["write"])
        except ApiError as error:
            if error.word == "not-found":
                return None
            raise

    def history(self, address: Address, length: int = 8, count: int = 10) -> list[Store]:
        """The latest writes before here, the latest first."""
        return [_store(write) for write in self.api.history(address, length=length, count=count)["writes"]]

    def console(self, start: Place | None = None, end: Place | None = None) -> Iterator[ConsolePiece]:
        """What the guest wrote to its consoles."""
        for piece in self._pages("console", "pieces", {"from": start, "to": end}):
            yield ConsolePiece(piece["position"], piece["channel"], piece["text"])

    def events(self, start: Place | None = None, end: Place | None = None) -> Iterator[dict[str, Any]]:
        """Inputs, interrupts and exceptions."""
        return self._pages("events", "events", {"from": start, "to": end})

    def linux_log(self) -> list[str]:
        """The lines of a Linux kernel's log here."""
        return [line["text"] for line in self._pages("linux_log", "lines", {"tail": False, "limit": 1000})]

    def linux_tasks(self) -> list[dict[str, Any]]:
        """The processes of a Linux guest here."""
        return list(self._pages("linux_tasks", "tasks", {}))

    @property
    def bookmarks(self) -> dict[str, int]:
        """Positions by the names of their bookmarks."""
        return {mark["name"]: mark["position"] for mark in self._pages("bookmarks", "bookmarks", {})}


def _store(write: Any) -> Store:
    return Store(write["position"], int(write["pc"], 16), write["symbol"], int(write["address"], 16),
                 write["before"], write["after"], write.get("device"))


def connect(path: str | os.PathLike[str]) -> Timeline:
    """A session that a program offers at a Unix socket: chronovisor api FILE --listen unix:PATH.

    :raises OpenError: when nobody listens there
    """
    return Timeline(Client.connect(path))


def open(file: str | os.PathLike[str], *, at: Place = "start",  # pylint: disable=redefined-builtin
         symbols: Sequence[str | os.PathLike[str]] = (), source_dirs: Sequence[str | os.PathLike[str]] = (),
         allow_changes: bool = False, program: str | None = None) -> Timeline:
    """Opens a recording, with a program of its own.

    :param at: where to begin
    :param symbols: ELF files of the guest's programs, for names
    :param source_dirs: folders of source files, for the text of their lines
    :param allow_changes: allow what changes bookmarks, or the guest on a branch
    :param program: the program, if it is not to be looked for
    :raises OpenError: when the program or the recording is not there, or cannot be used
    """
    command = [program or find_program(), "api", f"--at={at}"]
    command += [f"--symbols={os.fspath(path)}" for path in symbols]
    command += [f"--source-dir={os.fspath(path)}" for path in source_dirs]
    if allow_changes:
        command.append("--allow-changes")
    return Timeline(Client.start([*command, "--", os.fspath(file)]))

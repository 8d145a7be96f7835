"""Carries calls to the program: JSON-RPC 2.0, one message a line."""
from __future__ import annotations

import collections
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from ._methods import API_VERSION


class Error(Exception):
    """Whatever goes wrong in this package, but for what is wrong in how it is called."""


class OpenError(Error):
    """There is no session: no program, no recording, nobody at the socket, or another version."""


class EndedError(Error):
    """The session has ended: it was closed, or the program at the other end has gone."""


class ApiError(Error):
    """The program's refusal of a call.

    :ivar code: its number
    :ivar word: its word: "not-found", "wrong-parameters"
    :ivar where: which part of the call it is about, "/params/count", or None
    """

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        data = error.get("data") or {}
        self.code: int = error["code"]
        self.word: str = data.get("code", "")
        self.where: str | None = data.get("where")


def find_program() -> str:
    """$CHRONOVISOR, the program on the path, or that of the tree this package lies in."""
    named = os.environ.get("CHRONOVISOR") or shutil.which("chronovisor")
    if named:
        return named
    tree = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))
    built = os.path.join(tree, "build", "release", "chronovisor")
    if os.path.exists(built):
        return built
    raise OpenError("there is no program chronovisor on the path; $CHRONOVISOR may name it")


class _Said:
    """What a program says on its standard error: passed on, and its last lines remembered. Until
    the session stands nothing is passed on, since it may be why there is none."""

    _MOST = 20

    def __init__(self, pipe: IO[bytes]) -> None:
        self._lines: collections.deque[str] = collections.deque(maxlen=self._MOST)
        self._passes_on = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                with self._lock:
                    self._lines.append(line.decode(errors="replace"))
                    if self._passes_on:
                        self._tell(self._lines[-1])

    @staticmethod
    def _tell(text: str) -> None:
        if sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()

    def pass_on(self) -> None:
        with self._lock:
            self._passes_on = True
            self._tell("".join(self._lines))

    def text(self) -> str:
        """Of a program that has ended."""
        self._thread.join(timeout=5)
        with self._lock:
            return "".join(self._lines).strip().removeprefix("chronovisor: ")


class Client:
    """One conversation with the program. Calls of several threads are made one after the other."""

    def __init__(self, reader: IO[bytes], writer: IO[bytes], close: Callable[[], None], said: _Said | None = None) -> None:
        self._reader = reader
        self._writer = writer
        self._close: Callable[[], None] | None = close
        self._said = said
        self._lock = threading.Lock()
        self._last_id = 0
        self._moves: collections.deque[dict[str, Any]] = collections.deque()
        #: Called with (done, total) while a long call is at work.
        self.on_progress: Callable[[int, int], None] | None = None

    @classmethod
    def start(cls, command: list[str]) -> Client:
        """Starts the program and talks to it through its standard input and output.

        :raises OpenError: when it cannot be started, or ends with a reason
        """
        try:
            # Not in this program's group: a Ctrl-C is for the call, see call().
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       process_group=0)
        except OSError as error:
            raise OpenError(f"{command[0]} cannot be started: {error.strerror}") from error
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        reader, writer = process.stdout, process.stdin

        def close() -> None:
            try:
                writer.close()
            except OSError:
                pass  # it has gone already
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait()
            reader.close()

        return cls(reader, writer, close, _Said(process.stderr))._begun()

    @classmethod
    def connect(cls, path: str | os.PathLike[str]) -> Client:
        """Connects to a program that listens at a Unix socket.

        :raises OpenError: when nobody does
        """
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            line.connect(os.fspath(path))
        except OSError as error:
            line.close()
            raise OpenError(f"{os.fspath(path)}: {error.strerror or error}") from error
        reader, writer = line.makefile("rb"), line.makefile("wb")

        def close() -> None:
            for end in (reader, writer, line):
                try:
                    end.close()
                except OSError:
                    pass  # what was not sent is not wanted any more

        return cls(reader, writer, close)._begun()

    def _begun(self) -> Client:
        """Waits until the session stands."""
        try:
            version = self.call("version", {})["api"]
        except (Error, KeyboardInterrupt) as error:
            self.close()
            if not isinstance(error, EndedError):
                raise
            why = self._said.text() if self._said is not None else ""
            raise OpenError(why or "the program ends without a word") from error
        if version.split(".")[0] != API_VERSION.split(".")[0]:
            self.close()
            raise OpenError(f"the program speaks version {version} of the interface, this package {API_VERSION}")
        if self._said is not None:
            self._said.pass_on()
        return self

    def close(self) -> None:
        """Ends the conversation, and a program that was started for it."""
        if self._close is not None:
            ended, self._close = self._close, None
            ended()

    def follow(self) -> None:
        """From here on next_move() has something to wait for."""
        self.call("$/follow", {})
        with self._lock:
            self._moves.clear()

    def next_move(self) -> dict[str, Any]:
        """Waits until the machine has moved: {"where": ..., "by": ...}; what has come while calls
        were answered is given first. follow() begins it."""
        with self._lock:
            while not self._moves:
                message = self._receive()
                if message.get("method") == "moved":
                    self._moves.append(message["params"])
            return self._moves.popleft()

    def _send(self, message: dict[str, Any]) -> None:
        if self._close is None:
            raise EndedError("this session was closed")
        try:
            self._writer.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            self._writer.flush()
        except OSError:
            pass  # whoever has gone may have said why

    def _receive(self) -> dict[str, Any]:
        if self._close is None:
            raise EndedError("this session was closed")
        try:
            line = self._reader.readline()
        except ConnectionError:
            line = b""
        if not line.endswith(b"\n"):
            raise EndedError("the program at the other end has gone")
        return json.loads(line)

    def _answer_to(self, number: int) -> Any:
        while True:
            message = self._receive()
            if message.get("method") == "progress":
                if self.on_progress is not None and message["params"]["id"] == number:
                    self.on_progress(message["params"]["done"], message["params"]["total"])
            elif message.get("method") == "moved":
                self._moves.append(message["params"])
            elif message.get("id") == number or ("error" in message and message.get("id") is None):
                if "error" in message:
                    raise ApiError(message["error"])
                return message["result"]

    def call(self, method: str, parameters: dict[str, Any]) -> Any:
        """Calls a method of the interface and waits for its answer; parameters that are None
        are left out. Ctrl-C cancels the call.

        :raises ApiError: when the program refuses
        :raises EndedError: when the session has ended
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        with self._lock:
            self._last_id += 1
            number = self._last_id
            self._send({"id": number, "method": method, "params": given})
            try:
                return self._answer_to(number)
            except KeyboardInterrupt:
                self._send({"method": "$/cancelRequest", "params": {"id": number}})
                try:
                    self._answer_to(number)
                except Error:
                    pass
                raise

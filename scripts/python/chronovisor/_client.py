"""Carries calls to the program: JSON-RPC 2.0, one message a line."""
from __future__ import annotations

import collections
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from typing import IO, Any


class ApiError(Exception):
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
    raise FileNotFoundError("there is no program chronovisor on the path; $CHRONOVISOR may name it")


class Client:
    """One conversation with the program. Calls of several threads are made one after the other."""

    def __init__(self, reader: IO[bytes], writer: IO[bytes], close: Callable[[], None]) -> None:
        self._reader = reader
        self._writer = writer
        self._close: Callable[[], None] | None = close
        self._lock = threading.Lock()
        self._last_id = 0
        self._moves: collections.deque[dict[str, Any]] = collections.deque()
        #: Called with (done, total) while a long call is at work.
        self.on_progress: Callable[[int, int], None] | None = None

    @classmethod
    def start(cls, command: list[str]) -> Client:
        """Starts the program and talks to it through its standard input and output."""
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None and process.stdout is not None
        reader, writer = process.stdout, process.stdin

        def close() -> None:
            writer.close()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait()
            reader.close()

        return cls(reader, writer, close)

    @classmethod
    def connect(cls, path: str) -> Client:
        """Connects to a program that listens at a Unix socket."""
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        line.connect(path)
        reader, writer = line.makefile("rb"), line.makefile("wb")

        def close() -> None:
            reader.close()
            writer.close()
            line.close()

        return cls(reader, writer, close)

    def close(self) -> None:
        """Ends the conversation, and a program that was started for it."""
        if self._close is not None:
            ended, self._close = self._close, None
            ended()

    def next_move(self) -> dict[str, Any]:
        """Waits until the machine has moved: {"where": ..., "by": ...}; what has come while calls
        were answered is given first. The method "$/follow" begins it."""
        with self._lock:
            while not self._moves:
                line = self._reader.readline()
                if not line:
                    raise ConnectionError("the program has ended")
                message = json.loads(line)
                if message.get("method") == "moved":
                    self._moves.append(message["params"])
            return self._moves.popleft()

    def _send(self, message: dict[str, Any]) -> None:
        self._writer.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self._writer.flush()

    def _answer_to(self, number: int) -> Any:
        while True:
            line = self._reader.readline()
            if not line:
                raise ConnectionError("the program has ended")
            message = json.loads(line)
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
                except ApiError:
                    pass
                raise

"""A recording of a whole computer's run, to be asked by programs.

    import chronovisor

    with chronovisor.open("panic.cvr") as t:
        t.seek("end")
        print(hex(t.registers.rip), t.where["symbol"])
        for w in t.writes("jiffies", 8):
            print(w.position, w.symbol)

The program `chronovisor` is started for it, or one that listens at a Unix socket is
connected to: chronovisor.connect("/tmp/socket"). Everything the interface has is there by
its own name as t.api.NAME(...); docs/API.md describes it.
"""
from ._client import ApiError, Client, EndedError, Error, OpenError
from ._timeline import (Arrival, Backtrace, ConsolePiece, Frame, Memory, Move, NoRegister, Read, Registers, Screen, Store,
                        Timeline, Unreadable, ValueChange, Write, connect, open)  # pylint: disable=redefined-builtin

__all__ = ["ApiError", "Arrival", "Backtrace", "Client", "ConsolePiece", "EndedError", "Error", "Frame", "Memory", "Move",
           "NoRegister", "OpenError", "Read", "Registers", "Screen", "Store", "Timeline", "Unreadable", "ValueChange", "Write",
           "connect", "open"]

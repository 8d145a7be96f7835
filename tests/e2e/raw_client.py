"""A client of the remote protocol with nothing between it and the bytes."""
import socket


def framed(payload):
    data = payload if isinstance(payload, bytes) else payload.encode()
    return b"$" + data + b"#%02x" % (sum(data) & 255)


def monitor_packet(command):
    return framed("qRcmd," + command.encode().hex())


class RawClient:
    """Connected to "HOST:PORT" or to the path of a Unix socket."""

    def __init__(self, address, seconds=20):
        if address.startswith("/"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(seconds)
            self.socket.connect(address)
        else:
            host, port = address.rsplit(":", 1)
            self.socket = socket.create_connection((host, int(port)), seconds)
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data)

    def packet(self):
        """The next packet, acknowledged."""
        while True:
            start = self.buffer.find(b"$")
            end = self.buffer.find(b"#", start)
            if start >= 0 and 0 <= end <= len(self.buffer) - 3:
                payload, self.buffer = self.buffer[start + 1:end], self.buffer[end + 3:]
                self.send(b"+")
                return payload.decode("latin-1")
            piece = self.socket.recv(65536)
            if not piece:
                raise EOFError("the server closed the connection")
            self.buffer += piece

    def ask(self, payload):
        self.send(framed(payload))
        return self.packet()

    def monitor(self, command):
        """(what was printed, the result)"""
        self.send(monitor_packet(command))
        text = ""
        while (reply := self.packet()).startswith("O") and reply != "OK":
            text += bytes.fromhex(reply[1:]).decode(errors="replace")
        return text, reply

    def rest(self):
        """Everything until the other side closes, and a word if it does not."""
        data, self.buffer = self.buffer, b""
        try:
            while piece := self.socket.recv(65536):
                data += piece
        except ConnectionResetError:
            pass  # closed with bytes of ours unread
        except TimeoutError:
            data += b"<still open>"
        return data

    def close(self):
        self.socket.close()

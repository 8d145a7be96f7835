"""Reads the pictures that `export --format png` writes: three bytes a pixel, rows that are not filtered."""
import struct
import zlib


def rows_of_png(test, png):
    """@return width, height, and the rows: a byte for the filter, then red, green and blue of each pixel"""
    test.check(png.startswith(b"\x89PNG\r\n\x1a\n"), "no PNG")
    width, height = struct.unpack(">II", png[16:24])
    at, packed = 8, b""
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at:at + 8])
        test.check(zlib.crc32(png[at + 4:at + 8 + size]) == struct.unpack(">I", png[at + 8 + size:at + 12 + size])[0], "a chunk's checksum")
        packed += png[at + 8:at + 8 + size] if kind == b"IDAT" else b""
        at += 12 + size
    rows = zlib.decompress(packed)
    test.check(len(rows) == (3 * width + 1) * height, "the picture's rows")
    return width, height, rows

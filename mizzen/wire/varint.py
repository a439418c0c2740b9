"""Protobuf's base-128 integers, for the few messages that are written by hand. Source: protobuf encoding, "Base 128 Varints"."""

from __future__ import annotations


def varint(value: int) -> bytes:
    """value: not negative, else as two's complement of 64 bits."""
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)

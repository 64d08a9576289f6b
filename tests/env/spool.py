"""Reads a spool with nothing but spool/lb_format.h in hand: a second opinion
on what the C code wrote.  Every checksum on the way is verified."""

import os
import pathlib
import struct
from collections import namedtuple

PAGE = 4096
SECTOR = 512
RING_WRITER = PAGE
RING_READER = 2 * PAGE
RING_DATA = 4 * PAGE
RECORD_MAGIC = 0x4352424C
RECORD_FIXED = 80
POISONED = 1

Record = namedtuple("Record", "ring slot position seq received_us events epoch "
                              "stream client payload key")
Cell = namedtuple("Cell", "generation committed next_seq durable epoch flags "
                          "committed_us fill_end")


def _table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


_CRC = _table()


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    table = _CRC
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _newest(page, size):
    """The valid one of two cells with the higher generation."""
    cells = [page[i * SECTOR:i * SECTOR + size] for i in (0, 1)]
    valid = [c for c in cells
             if crc32c(c[:60]) == struct.unpack_from("<I", c, 60)[0]]
    assert valid, "no valid cell"
    return max(valid, key=lambda c: struct.unpack_from("<Q", c)[0])


class Ring:
    """One ring file, as it was when it was opened."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        with open(self.path, "rb") as f:
            head = f.read(RING_DATA)
        assert head[:8] == b"LBRING1\n", f"{path}: not a ring"
        self.version, crc = struct.unpack_from("<II", head, 8)
        assert self.version in (1, 2)
        assert crc == crc32c(head[16:96]), f"{path}: identity CRC"
        self.spool_uuid = head[16:32]
        self.uuid = head[32:48]
        self.capacity, self.data = struct.unpack_from("<QQ", head, 48)
        self.slot, = struct.unpack_from("<I", head, 72)
        self.cell = Cell(*struct.unpack_from(
            "<QQQQIIQQ", _newest(head[RING_WRITER:RING_READER], 64)))
        self.ack_generation, self.acked, self.acked_seq = struct.unpack_from(
            "<QQQ", _newest(head[RING_READER:RING_DATA], 64))
        self.counters = dict(zip(
            ("records", "events", "bytes", "writes", "syncs", "failures",
             "full", "recovered"),
            struct.unpack_from("<8Q", head, RING_WRITER + 1024)))

    def _at(self, f, position, size):
        offset = position % self.capacity
        first = min(size, self.capacity - offset)
        f.seek(self.data + offset)
        data = f.read(first)
        if first < size:
            f.seek(self.data)
            data += f.read(size - first)
        return data

    def _record(self, f, position):
        """(the record there, where the next one begins)"""
        head = self._at(f, position, RECORD_FIXED)
        (magic, crc, at, seq, us, length, payload_crc, events, epoch,
         header, fmt, stream, client) = struct.unpack_from(
             "<IIQQQIIIIHBBB", head)
        where = f"{self.path.name} at {position}"
        assert magic == RECORD_MAGIC, f"{where}: magic"
        head = self._at(f, position, header)
        assert crc == crc32c(head[8:]), f"{where}: header CRC"
        assert at == position, where
        assert fmt == 1, where
        assert head[56:64] == self.uuid[:8], where
        payload = self._at(f, position + header, length)
        assert payload_crc == crc32c(payload), f"{where}: payload CRC"
        assert sum(not line.startswith(b"\x01") for line in
                   payload.splitlines()) == events, where
        assert payload.endswith(b"\n"), where
        return Record(self.uuid.hex(), self.slot, position, seq, us,
                      events, epoch,
                      head[80:80 + stream].decode(),
                      head[64:64 + client], payload,
                      (head[54], head[-16:]) if head[53] else None
                      ), position + ((header + length + 7) & ~7)

    def records(self, start=None, end=None, torn=False):
        """Every record from the acked position to the committed one. torn:
        what is none is skipped, as the flusher does."""
        position = self.acked if start is None else start
        end = self.cell.committed if end is None else end
        with open(self.path, "rb") as f:
            while position < end:
                try:
                    record, position = self._record(f, position)
                except AssertionError:
                    if not torn:
                        raise
                    position += 8
                else:
                    yield record
        assert position == end, "the last record ends behind the commit"

    def ack(self, position=None, seq=None):
        """What the flusher stores when a batch is delivered."""
        if position is None:
            position, seq = self.cell.committed, self.cell.next_seq
        generation = self.ack_generation + 1
        cell = struct.pack("<QQQ36x", generation, position, seq)
        cell += struct.pack("<I", crc32c(cell))
        fd = os.open(self.path, os.O_RDWR)
        try:
            os.pwrite(fd, cell, RING_READER + (generation & 1) * SECTOR)
        finally:
            os.close(fd)
        self.ack_generation = generation
        self.acked, self.acked_seq = position, seq


def rings(spool):
    return [Ring(p) for p in sorted(pathlib.Path(spool).glob("ring-????"))]


def records(spool, torn=False):
    """All records of all rings that are not acked; checks that the seqs of
    each ring are contiguous. torn: without syncs, a disk that is cut off may
    have a commit, and not all of the records before it."""
    found = []
    for ring in rings(spool):
        seq = ring.acked_seq
        for record in ring.records(torn=torn):
            assert record.seq == seq or torn and record.seq > seq, \
                f"{ring.path.name}: seq {record.seq}, expected {seq}"
            seq = record.seq + record.events
            found.append(record)
        assert seq == ring.cell.next_seq or torn and seq < ring.cell.next_seq
    return found


def events(spool, torn=False):
    """The events of all records, as lines without their line feed."""
    return [line for r in records(spool, torn)
            for line in r.payload.split(b"\n")[:-1]]

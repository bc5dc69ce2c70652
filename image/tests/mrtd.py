"""MRTD of a TDX firmware image, written from the TDX module's specification alone: an answer to compare ours with.

usage: mrtd.py FIRMWARE    prints the value of each page order, "pages" and "sections"
"""
import hashlib
import struct
import sys
import uuid

FOOTER = uuid.UUID("96b582de-1fb2-45f7-baea-a366c55a082d").bytes_le
TDX = uuid.UUID("e47a6535-984a-4798-865e-4685a7bf8ec2").bytes_le
EXTEND, AUG = 1, 2


def table_entry(image, wanted):
    """The data of an entry of the table that ends 32 bytes before the image does, read backwards."""
    end = len(image) - 32
    length, guid = struct.unpack("<H16s", image[end - 18:end])
    assert guid == FOOTER, "no table"
    start, end = end - length, end - 18
    while end > start:
        length, guid = struct.unpack("<H16s", image[end - 18:end])
        if guid == wanted:
            return image[end - length:end - 18]
        end -= length
    raise SystemExit("no TDX metadata")


def sections(image):
    at = len(image) - struct.unpack("<I", table_entry(image, TDX))[0]
    signature, _, _, count = struct.unpack("<4sIII", image[at:at + 16])
    assert signature == b"TDVF"
    for index in range(count):
        yield struct.unpack("<IIQQII", image[at + 16 + 32 * index:at + 48 + 32 * index])


def mrtd(image, by_section):
    state = hashlib.sha384()
    for offset, length, address, size, _, attributes in sections(image):
        if attributes & AUG:
            continue
        data = image[offset:offset + length].ljust(size, b"\0")

        def add(page):
            state.update(struct.pack("<16sQ104x", b"MEM.PAGE.ADD", address + page))

        def extend(page):
            for chunk in range(page, page + 4096, 256):
                state.update(struct.pack("<16sQ104x", b"MR.EXTEND", address + chunk))
                state.update(data[chunk:chunk + 256])

        steps = [add, extend] if attributes & EXTEND else [add]
        if by_section:
            for step in steps:
                for page in range(0, size, 4096):
                    step(page)
        else:
            for page in range(0, size, 4096):
                for step in steps:
                    step(page)
    return state.hexdigest()


if __name__ == "__main__":
    image = open(sys.argv[1], "rb").read()
    print("pages", mrtd(image, False))
    print("sections", mrtd(image, True))

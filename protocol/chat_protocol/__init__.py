"""What Simple Chat says on the wire: messages, their bytes, and the rules both ends share.

Pure: nothing here opens a socket, reads a clock or touches a disk. `protocol/SPEC.md` is the
authority; this package implements exactly that.
"""

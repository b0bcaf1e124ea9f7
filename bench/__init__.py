"""Measures Simple Chat beside what people would pick instead: `python -m bench`.

Everything runs on this machine and in temporary folders, one server at a time under load: the server on one
core, all load on another. `work` holds what is measured, `peers` who is measured.
"""

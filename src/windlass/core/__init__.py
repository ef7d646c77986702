"""The pure core: no I/O, no asyncio, no reading of clocks.

Everything here is a value or a function of its arguments, so that each rule can be tested in microseconds and
every store and service can be held against the same rules.
"""

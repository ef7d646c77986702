"""The store in the memory of one process, ``memory://[name]``: the reference that every other store is held against."""

from windlass.store.memory.store import MemoryStore

__all__ = ["MemoryStore"]

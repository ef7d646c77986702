"""What proves a store, shipped so that the author of any store can use it.

The conformance suite, the state machine that compares a store with the reference, the invariants, and a store that
fails on purpose.
"""

"""Stores: back ends that remember and answer atomically. `port` says what every one of them promises."""

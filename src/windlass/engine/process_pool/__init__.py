"""Child processes that run attempts, so that whatever task code does can be ended, and hurts nobody else.

On the worker's side: `pool` keeps the children, `child` is one of them (its line, its output, its end), `process` the
operating system's part of it. In the child: `main` sets it up and serves, `performer` runs one attempt, `confine` and
`standard` keep its surroundings in order. What travels between them is in `wire`.
"""

"""Distributed compute: tasks as functions that are mapped over many items, and an executor over the workers.

``batches`` jobs that run a task over many items; ``functions`` the same for functions that are no tasks, signed;
``tracker`` sends jobs and hears of their ends, many at once;
``mapping`` map and reduce; ``executor`` the executor of ``concurrent.futures``.
"""

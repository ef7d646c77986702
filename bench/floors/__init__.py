"""What the stores and Python allow: the same work, driven by hand, with nothing of Windlass in it.

Two kinds. *Promises* keeps what Windlass keeps: leases, fences, sessions with request numbers, a unique ordered 16-byte
id, priorities, a look at the queue's record, results, retention. *Reference* is the least that can be called a queue:
leased, fenced, results kept.
"""

"""Long-lived services that move jobs. They know the ports, never an adapter.

``worker`` claims and runs, ``pump`` carries outcomes to the store and jobs back in one trip, ``attempt`` and
``threads`` run task code, ``heartbeat`` renews the lease from a thread of its own, ``leases`` and ``janitor`` look
after what others left behind, ``enqueuer`` gathers what producers send, ``supervisor`` restarts worker processes.
"""

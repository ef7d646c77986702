"""PostgreSQL: a store in a schema of a database, for all machines that reach it.

Its parts are imported by their own names (`windlass.store.postgres.store`), so that a URL can be read where there is no
driver.
"""

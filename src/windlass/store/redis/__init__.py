"""The store on a Redis or Valkey server, of version 7 or later."""

from windlass.store.redis.store import RedisStore

__all__ = ["RedisStore"]

"""Moving requests: the one HTTP client, the vendor's request budget, the decision to repeat, and what may be written
down.

In: `kernel.messages.Request` values. Out: `Response` values, or a `Failure` with a plain-words reason. The room knows
no provider and no token; `aiohttp` appears in `transport.http` alone, so everything else here stays pure and cheap to
import.
"""

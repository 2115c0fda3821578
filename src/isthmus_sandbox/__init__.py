"""Wire-faithful simulators of the vendors' servers, for tests, demos and for learning a vendor without a tenant.

In: real HTTP requests over TLS from any client. Out: what the vendor would answer, down to paging, refusals, limits and
error codes (`reference/business-central/behaviour.md`, `reference/oauth/behaviour.md`). A control API (`/_sandbox/…`)
seeds data, moves the clock, injects faults and shows the requests received.

Must never be in it: an import of `isthmus`. If the simulator used the hub's own code, the hub's mistakes would agree
with themselves.
"""

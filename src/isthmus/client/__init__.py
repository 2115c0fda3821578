"""The authorised call: a provider's requests sent with a token, within the budget, retried and journalled.

In: requests from a provider. Out: responses, or a `Failure`. It also is the library (`isthmus.BusinessCentral`).
Store-free: tokens, budget and journal come through the small protocols of `client.protocols`, which the hub, the
command line or a library user supplies.
"""

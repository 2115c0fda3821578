"""The verbs: what isthmus does with a connection. Reading today; writing, proxy and subscriptions come beside it.

In: a sync or a wish. Out: committed pages, a run's end, or a failure. `actions` introduces the store to providers;
neither knows the other.
"""

"""OAuth without I/O: every grant is a generator that yields requests, is sent responses, and returns a `TokenSet`.

In: plain credentials and the time. Out: requests, tokens, or a CredentialFailure with a remedy. Never in here: sockets,
storage, locks. Whoever drives a generator also makes sure that one refresh runs at a time and that new tokens are
stored before they are used.
"""

"""Keeping secrets: sealed with a key of their project, which is wrapped by the one master key.

In: bytes and the place they belong to (table, column, row). Out: sealed bytes that open only at that place. Pure
cryptography apart from `vault.keys.load_master_key`, which reads the environment or a key file. Never in here: the
database, logs, networks.
"""

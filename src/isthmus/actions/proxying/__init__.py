"""The proxy: a raw call below one connection's environment, with credentials, limits and safe repeats added."""

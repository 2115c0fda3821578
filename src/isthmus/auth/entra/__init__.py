"""Microsoft Entra ID (v2 endpoint): clouds, sign-in addresses, grants, identity, and what its errors mean.

In: plain credentials, the time, responses. Out: addresses for a browser, token requests, `TokenSet`s, identities,
failures with a remedy. Vendor facts: reference/oauth/behaviour.md, ids OA-nn. Access tokens are opaque here and stay
so (OA-17).
"""

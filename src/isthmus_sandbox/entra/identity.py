"""The id_token: who signed in, where and for which app (OA-22)."""

from __future__ import annotations

import uuid
from typing import Any

from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.entra.keys import SigningKeys
from isthmus_sandbox.entra.records import App, Tenant, User

ID_TOKEN_LIFETIME_S = 3_600


def id_token(
    directory: Directory, keys: SigningKeys, app: App, tenant: Tenant, user: User, *, nonce: str | None, base_url: str
) -> str:
    """A signed id_token, made wrong on purpose by the switches `tid-mismatch` and `id-token-fault`."""
    ids = (tenant.tenant_id, app.client_id)
    tenant_id = tenant.tenant_id
    mismatch = directory.switches.use("tid-mismatch", *ids)
    if mismatch is not None:
        tenant_id = mismatch.value if isinstance(mismatch.value, str) else str(uuid.uuid4())
    now_s = int(directory.clock.time_s())
    claims: dict[str, Any] = {
        "aud": app.client_id,
        "iss": f"{base_url}/{tenant_id}/v2.0",
        "iat": now_s,
        "nbf": now_s,
        "exp": now_s + ID_TOKEN_LIFETIME_S,
        "name": user.display_name,
        "oid": user.user_id,
        "preferred_username": user.user_name,
        "sub": uuid.uuid5(uuid.UUID(app.client_id), user.user_id).hex,
        "tid": tenant_id,
        "ver": "2.0",
    }
    if nonce is not None:
        claims["nonce"] = nonce
    fault = directory.switches.use("id-token-fault", *ids)
    if fault is None:
        return keys.sign(claims)
    wrong: dict[str, dict[str, Any]] = {
        "nonce": {"nonce": "forged"},
        "issuer": {"iss": "https://login.example/forged/v2.0"},
        "audience": {"aud": str(uuid.uuid4())},
        "expiry": {"iat": now_s - 7_200, "nbf": now_s - 7_200, "exp": now_s - 3_600},
    }
    claims.update(wrong.get(str(fault.value), {}))
    return keys.sign_wrongly(claims) if fault.value == "signature" else keys.sign(claims)

"""A small OpenID Connect provider on this machine, which tells the truth or, when asked, something else."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlencode

import msgspec
import uvicorn
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

CLIENT_ID, CLIENT_SECRET = "isthmus-console", "canary-oidc-secret"


@cache
def first_key() -> RSAKey:
    """A signing key; making one takes its time, so there is one for all providers."""
    return RSAKey.generate_key(2048, parameters={"kid": "one"})


class IdentityProvider:
    """Its switches: `claims` are added to the truth (None takes one away), `key` signs, `refuse` answers a code."""

    def __init__(self) -> None:
        self.address = ""
        self.published = [first_key()]
        self.key: RSAKey | OctKey = self.published[0]
        self.claims: dict[str, Any] = {}
        self.person: dict[str, Any] = {"sub": "ada", "name": "Ada Lovelace", "email": "ada@acme.example"}
        self.refuse = ""
        self.algorithm = "RS256"
        self.signs_out = True
        self.methods = ["client_secret_basic"]
        self.requests: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.requests.append(scope["path"])
        status, answer, more = self._answer(scope["path"], query, form, headers)
        content = msgspec.json.encode(answer)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", b"application/json"), *more],
            }
        )
        await send({"type": "http.response.body", "body": content})

    def _answer(
        self, path: str, query: dict[str, str], form: dict[str, str], headers: dict[str, str]
    ) -> tuple[int, Any, list[tuple[bytes, bytes]]]:
        match path:
            case "/.well-known/openid-configuration":
                return 200, self._metadata(), []
            case "/keys":
                return 200, {"keys": [key.as_dict(private=False) for key in self.published]}, []
            case "/authorize":
                code = secrets.token_urlsafe(8)
                self._codes[code] = query
                back = urlencode({"code": code, "state": query["state"]})
                return 302, {}, [(b"location", f"{query['redirect_uri']}?{back}".encode())]
            case "/end":
                here = query.get("client_id") == CLIENT_ID
                return (302, {}, [(b"location", query["post_logout_redirect_uri"].encode())]) if here else (400, {}, [])
            case "/token":
                return (*self._token(form, headers), [])
        return 404, {}, []

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.address,
            "authorization_endpoint": f"{self.address}/authorize",
            "token_endpoint": f"{self.address}/token",
            "jwks_uri": f"{self.address}/keys",
            **({"end_session_endpoint": f"{self.address}/end"} if self.signs_out else {}),
            "token_endpoint_auth_methods_supported": self.methods,
        }

    def _token(self, form: dict[str, str], headers: dict[str, str]) -> tuple[int, Any]:
        if self.refuse:
            return 400, {"error": self.refuse}
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        by_header = headers.get("authorization") == f"Basic {basic}"
        by_form = (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        if not (by_header if "client_secret_basic" in self.methods else by_form):
            return 401, {"error": "invalid_client"}
        asked = self._codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != challenge or asked["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        told = {"iss": self.address, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        claims = {name: value for name, value in (told | self.person | self.claims).items() if value is not None}
        header = {"alg": self.algorithm, "kid": self.key.kid}
        return 200, {
            "id_token": jwt.encode(header, claims, self.key, algorithms=[self.algorithm]),
            "token_type": "Bearer",
        }


@asynccontextmanager
async def identity_provider() -> AsyncIterator[IdentityProvider]:
    """Serve one until the end of the block."""
    provider = IdentityProvider()
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    provider.address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(provider, log_config=None, access_log=False, lifespan="off"))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        async with asyncio.timeout(60):
            while not server.started and not task.done():  # noqa: ASYNC110  (uvicorn tells by a flag only)
                await asyncio.sleep(0.01)
        yield provider
    finally:
        server.should_exit = True
        await task
        listening.close()

"""`POST /{tenant}/oauth2/v2.0/token`: reads the form, applies faults that are set, counts, and answers."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from isthmus_sandbox.connection import drop_connection
from isthmus_sandbox.entra.authority import resolve_app, resolve_authority
from isthmus_sandbox.entra.client_authentication import basic_credentials
from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.entra.errors import NO_STORE, RETRY_AFTER_S, EntraError, ErrorAnswers
from isthmus_sandbox.entra.forms import read_form
from isthmus_sandbox.entra.grants import TokenRequest, authorization_code, client_credentials, refresh_token
from isthmus_sandbox.entra.keys import SigningKeys
from isthmus_sandbox.entra.records import Cloud
from isthmus_sandbox.journal import NOTES_KEY

CLIENT_ID_CHARS_MAX = 64
LOOP_REQUESTS_MAX = 60
"""Identical requests within the window before it is a loop (50196, OA-20); the real number is not published."""
LOOP_WINDOW_S = 60.0
LOOP_KEYS_MAX = 10_000

GRANTS: dict[str, Callable[[TokenRequest], dict[str, Any]]] = {
    "authorization_code": authorization_code,
    "refresh_token": refresh_token,
    "client_credentials": client_credentials,
}


class TokenEndpoint:
    """The token endpoint of one cloud. `counts` says how often each app used each grant and with what outcome."""

    def __init__(
        self,
        directory: Directory,
        keys: SigningKeys,
        errors: ErrorAnswers,
        cloud: Cloud,
        counts: Counter[tuple[str, ...]],
    ) -> None:
        self._directory = directory
        self._keys = keys
        self._errors = errors
        self._cloud = cloud
        self._counts = counts
        self._recent: OrderedDict[str, deque[float]] = OrderedDict()

    async def answer(self, request: Request) -> Response:
        """Answer one token request."""
        form: dict[str, str] = {}
        client_id, grant, outcome = "", "", "refused early"
        tenant = self._directory.find_tenant(request.path_params["tenant"])
        tenant_id = tenant.tenant_id if tenant else "*"
        try:
            form = await _read_form(request)
            client_id, grant = form.get("client_id", "").lower(), form.get("grant_type", "")
            request.scope.get(NOTES_KEY, {})["principal"] = f"app {client_id[:CLIENT_ID_CHARS_MAX]}"
            early = self._refuse_early(request, tenant_id, client_id)
            if early is not None:
                return early
            answer: Response = JSONResponse(self._issue(request, form), headers=NO_STORE)
            outcome = "issued"
        except EntraError as error:
            answer = self._errors.as_json(error, request)
            outcome = f"AADSTS{error.code}"
        finally:
            self._counts[(client_id, grant, outcome)] += 1
        await self._disturb(request, tenant_id, client_id)
        return answer

    def _issue(self, request: Request, form: dict[str, str]) -> dict[str, Any]:
        directory = self._directory
        grant = form.get("grant_type", "")
        if "resource" in form:
            raise EntraError(901002, "The 'resource' request parameter is not supported.")
        authority = resolve_authority(
            directory,
            request.path_params["tenant"],
            self._cloud,
            wrong_cloud_code=900382 if grant == "client_credentials" else 90002,
        )
        for name in ("grant_type", "client_id"):
            if not form.get(name):
                raise EntraError(900144, f"The request body must contain the following parameter: '{name}'.")
        tenant_id = authority.tenant.tenant_id if authority.tenant else "*"
        planned = directory.switches.take_next_error("token", tenant_id, form["client_id"].lower())
        if planned is not None:
            raise EntraError(
                planned.code,
                suberror=planned.suberror,
                claims=planned.claims,
                status=planned.status,
                retry_after_s=planned.retry_after_s,
            )
        self._refuse_loops(tenant_id, form)
        if grant not in GRANTS:
            raise EntraError(70003, f"The app requested an unsupported grant type '{grant}'.")
        app = resolve_app(directory, form["client_id"], authority)
        base_url = f"https://{request.headers.get('host', 'localhost')}"
        return GRANTS[grant](TokenRequest(directory, self._keys, authority, app, form, base_url))

    def _refuse_loops(self, tenant_id: str, form: dict[str, str]) -> None:
        loop = EntraError(50196, "The server terminated an operation because it encountered a client request loop.")
        if self._directory.switches.use("loop", tenant_id, form["client_id"].lower()):
            raise loop
        same = "\n".join(f"{name}={value}" for name, value in sorted(form.items()) if name != "client_assertion")
        key = hashlib.sha256(f"{tenant_id}\n{same}".encode()).hexdigest()
        now_s = self._directory.clock.time_s()
        times = self._recent.setdefault(key, deque(maxlen=LOOP_REQUESTS_MAX))
        self._recent.move_to_end(key)
        while len(self._recent) > LOOP_KEYS_MAX:
            self._recent.popitem(last=False)
        looping = len(times) == LOOP_REQUESTS_MAX and 0 <= now_s - times[0] < LOOP_WINDOW_S
        times.append(now_s)
        if looping:
            raise loop

    def _refuse_early(self, request: Request, tenant_id: str, client_id: str) -> Response | None:
        """Refusals before anything is looked at: throttling and an HTML page (OA-20, OA-49)."""
        switches = self._directory.switches
        throttle = switches.use("throttle", tenant_id, client_id)
        if throttle is not None:
            wait_s = RETRY_AFTER_S if throttle.value is True else int(throttle.value)
            return self._errors.as_json(EntraError(90055, status=429, retry_after_s=wait_s), request)
        if switches.use("html-503", tenant_id, client_id):
            page = "<!DOCTYPE html><html><head><title>Service Unavailable</title></head><body>Try again.</body></html>"
            return HTMLResponse(page, 503)
        return None

    async def _disturb(self, request: Request, tenant_id: str, client_id: str) -> None:
        """Faults on the way back, after the token was decided: a late answer, a lost answer (OA-28, OA-29)."""
        switches = self._directory.switches
        slow = switches.use("slow-refresh", tenant_id, client_id)
        if slow is not None:
            await asyncio.sleep(float(slow.value))
        if switches.use("lost-response", tenant_id, client_id):
            await drop_connection(request.scope, request.receive)


async def _read_form(request: Request) -> dict[str, str]:
    """The form, with HTTP Basic credentials merged in."""
    if request.method != "POST":
        raise EntraError(900561, "The endpoint only accepts POST requests.")
    form = await read_form(request)
    credentials = basic_credentials(request.headers.get("authorization", ""))
    if credentials is not None:
        form.setdefault("client_id", credentials[0])
        form.setdefault("client_secret", credentials[1])
    return form

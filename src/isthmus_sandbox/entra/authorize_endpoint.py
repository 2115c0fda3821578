"""`/authorize` and `/adminconsent`: over sign-in and consent to the redirect back.

Nothing needs a script. A test or a demo answers by posting the forms, or says in advance what a person would do:
`sandbox_auto=accept|deny` in the query or as a cookie, or the switch `auto`; `login_hint` then names the user (else the
first admin of the tenant).
"""

from __future__ import annotations

import secrets
import uuid
from collections import OrderedDict
from typing import Literal, TypeVar
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from isthmus_sandbox.entra.authorize_request import STUCK_CODES, PendingRequest, check_authorize, identify
from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.entra.errors import EntraError, ErrorAnswers, answers_challenge, correlation_id_of
from isthmus_sandbox.entra.forms import read_form
from isthmus_sandbox.entra.pages import consent_page, form_post_page, login_page, signed_out_page, stuck_page
from isthmus_sandbox.entra.records import Cloud, Tenant, User
from isthmus_sandbox.entra.scopes import DEFAULT_SCOPE, parse_scope
from isthmus_sandbox.entra.tokens import AuthorizationCode, SignIn

SESSION_COOKIE = "sandbox_session"
AUTO_NAME = "sandbox_auto"
REMEMBERED_MAX = 10_000
PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "frame-ancestors 'none'",
}

T = TypeVar("T")


class AuthorizeEndpoint:
    """The interactive endpoints of one cloud. Pending requests and browser sessions live here."""

    def __init__(self, directory: Directory, errors: ErrorAnswers, cloud: Cloud) -> None:
        self._directory = directory
        self._errors = errors
        self._cloud = cloud
        self._pending: OrderedDict[str, PendingRequest] = OrderedDict()
        self._sessions: OrderedDict[str, str] = OrderedDict()

    async def authorize(self, request: Request) -> Response:
        """Start an authorization code request (GET, or POST with a form)."""
        return await self._begin(request, "authorize", versioned=True)

    async def admin_consent(self, request: Request) -> Response:
        """Start `/{tenant}/adminconsent`: all permissions that the app declares (OA-35)."""
        return await self._begin(request, "adminconsent", versioned=False)

    async def admin_consent_v2(self, request: Request) -> Response:
        """Start `/{tenant}/v2.0/adminconsent`: the permissions named in `scope`."""
        return await self._begin(request, "adminconsent", versioned=True)

    async def login(self, request: Request) -> Response:
        """The sign-in form came back."""
        try:
            form = await read_form(request)
            request_id, pending = self._find_pending(form)
        except EntraError as error:
            return self._stuck(error, request)
        user = self._directory.find_user(form.get("pick") or form.get("user_name", ""))
        typed = "pick" not in form
        if user is None or (typed and user.password != form.get("password")):
            return self._ask_to_sign_in(request, request_id, pending, self._problem(EntraError(50126), request))
        answer = self._signed_in(request, request_id, pending, user)
        session = _remember(self._sessions, secrets.token_urlsafe(24), user.user_id)
        answer.set_cookie(SESSION_COOKIE, session, secure=True, httponly=True, samesite="lax")
        return answer

    async def consent(self, request: Request) -> Response:
        """The consent form came back."""
        try:
            form = await read_form(request)
            request_id, pending = self._find_pending(form)
        except EntraError as error:
            return self._stuck(error, request)
        user = self._directory.users.get(pending.user_id or "")
        if user is None:
            return self._ask_to_sign_in(request, request_id, pending, "Sign in first.")
        del self._pending[request_id]
        if form.get("answer") != "accept":
            return self._refuse(request, pending, EntraError(65004, "User declined to consent to access the app."))
        return self._finish(request, pending, user, consented=True)

    async def logout(self, request: Request) -> Response:
        """Forget the browser session; return only to a registered address."""
        target = request.query_params.get("post_logout_redirect_uri", "")
        known = {uri for app in self._directory.apps.values() for uris in app.redirect_uris.values() for uri in uris}
        answer: Response = HTMLResponse(signed_out_page(), headers=PAGE_HEADERS)
        if target in known:
            state = request.query_params.get("state")
            answer = RedirectResponse(_with_parameters(target, {"state": state} if state else {}), 302)
        self._sessions.pop(request.cookies.get(SESSION_COOKIE, ""), None)
        answer.delete_cookie(SESSION_COOKIE)
        return answer

    # The steps --------------------------------------------------------------------------------------------------------

    async def _begin(
        self, request: Request, purpose: Literal["authorize", "adminconsent"], *, versioned: bool
    ) -> Response:
        try:
            parameters = dict(request.query_params)
            if request.method == "POST":
                parameters.update(await read_form(request))
            pending = identify(self._directory, self._cloud, request.path_params["tenant"], parameters, purpose)
        except EntraError as error:
            return self._stuck(error, request)
        pending.versioned = versioned
        tenant_id = pending.authority.tenant.tenant_id if pending.authority.tenant else "*"
        planned = self._directory.switches.take_next_error(purpose, tenant_id, pending.app.client_id)
        if planned is not None:
            refusal = EntraError(planned.code, suberror=planned.suberror, claims=planned.claims)
            if planned.code in STUCK_CODES:
                return self._stuck(refusal, request)
            return self._refuse(request, pending, refusal)
        try:
            if purpose == "authorize":
                check_authorize(self._directory, pending)
        except EntraError as error:
            return self._refuse(request, pending, error)
        auto = self._directory.switches.use("auto", tenant_id, pending.app.client_id)
        pending.auto = (
            parameters.get(AUTO_NAME) or request.cookies.get(AUTO_NAME) or (None if auto is None else str(auto.value))
        )
        return self._choose_user(request, pending)

    def _choose_user(self, request: Request, pending: PendingRequest) -> Response:
        request_id = _remember(self._pending, secrets.token_urlsafe(24), pending)
        hint = pending.parameters.get("login_hint", "")
        if pending.auto in ("accept", "deny"):
            people = self._directory.users_of(self._tenant_of(pending))
            user = self._directory.find_user(hint) if hint else next(iter(people), None)
            if user is None:
                return self._ask_to_sign_in(request, request_id, pending, self._problem(EntraError(50034), request))
            return self._signed_in(request, request_id, pending, user)
        session_user = self._directory.users.get(self._sessions.get(request.cookies.get(SESSION_COOKIE, ""), ""))
        reusable = pending.prompt not in ("login", "select_account")
        if session_user is not None and reusable and hint.lower() in ("", session_user.user_name):
            return self._signed_in(request, request_id, pending, session_user)
        if pending.prompt == "none":
            del self._pending[request_id]
            return self._refuse(request, pending, EntraError(50058, "No user is signed in and prompt is none."))
        return self._ask_to_sign_in(request, request_id, pending, "")

    def _signed_in(self, request: Request, request_id: str, pending: PendingRequest, user: User) -> Response:
        """Somebody is known: may they, and must they be asked for consent?"""
        tenant, app, switches = self._directory.tenants[user.tenant_id], pending.app, self._directory.switches
        problem = self._user_problem(pending, user)
        if problem is not None:
            return self._ask_to_sign_in(request, request_id, pending, self._problem(problem, request))
        pending.user_id = user.user_id
        refusal: EntraError | None = None
        if app.assignment_required and user.user_id not in app.assigned_user_ids:
            refusal = EntraError(50105, f"The signed in user '{user.user_name}' is not assigned to a role for the app.")
        elif switches.use("ca-block", tenant.tenant_id, app.client_id):
            refusal = EntraError(53003, "Access has been blocked by Conditional Access policies.")
        elif pending.auto == "deny":
            refusal = EntraError(65004, "User declined to consent to access the app.")
        try:
            needed = [] if refusal else self._permissions_to_ask(pending, tenant, user)
        except EntraError as error:
            refusal, needed = error, []
        if refusal is None and needed and pending.prompt == "none":
            refusal = EntraError(65001, f"Nobody has consented to use the application '{app.client_id}' yet.")
        if refusal is not None:
            self._pending.pop(request_id, None)
            return self._refuse(request, pending, refusal)
        if not needed or pending.auto == "accept":
            self._pending.pop(request_id, None)
            return self._finish(request, pending, user, consented=bool(needed))
        action = f"/{pending.authority.name}/sandbox/consent"
        everybody = pending.purpose == "adminconsent"
        text = consent_page(action, request_id, app.display_name, user.user_name, needed, for_everybody=everybody)
        return HTMLResponse(text, headers=PAGE_HEADERS)

    def _user_problem(self, pending: PendingRequest, user: User) -> EntraError | None:
        """What keeps this user from continuing; told on the page, so that another user can be chosen."""
        tenant = pending.authority.tenant
        if tenant is not None and user.tenant_id != tenant.tenant_id:
            return EntraError(50020, f"User account '{user.user_name}' does not exist in tenant '{tenant.domain}'.")
        if self._directory.tenants[user.tenant_id].cloud != self._cloud:
            return EntraError(50034, f"The user account '{user.user_name}' does not exist in this cloud.")
        if not user.enabled:
            return EntraError(50057, "The user account is disabled.")
        if pending.purpose == "adminconsent" and not user.is_admin:
            return EntraError(90094, "The grant requires admin permission.")
        return None

    def _permissions_to_ask(self, pending: PendingRequest, tenant: Tenant, user: User) -> list[str]:
        """Full names of the permissions that still need somebody's yes."""
        directory, app = self._directory, pending.app
        if pending.purpose == "adminconsent":
            return sorted(
                f"{uri}/{name}"
                for permissions in (app.delegated_permissions, app.application_permissions)
                for uri, names in permissions.items()
                for name in names
            ) or ["sign you in"]
        scope = parse_scope(pending.scope, directory, tenant)
        if scope.resource is None:
            return []
        uri = scope.resource.uri
        consented = directory.consented_scopes(tenant.tenant_id, app.client_id, uri, user.user_id)
        wanted = scope.permissions
        if DEFAULT_SCOPE in wanted:
            wanted = frozenset() if consented else app.delegated_permissions.get(uri, frozenset())
            if not wanted and not consented:
                raise EntraError(65005, f"The application does not list {uri} among its required resources.")
        withdrawn = directory.switches.peek("consent-required", tenant.tenant_id, app.client_id)
        again = pending.prompt == "consent" or (withdrawn is not None and withdrawn.value is not False)
        return sorted(f"{uri}/{name}" for name in (wanted or consented if again else wanted - consented))

    def _finish(self, request: Request, pending: PendingRequest, user: User, *, consented: bool) -> Response:
        tenant = self._directory.tenants[user.tenant_id]
        if pending.purpose == "adminconsent":
            self._consent_for_everybody(pending, tenant)
            parameters = {"tenant": tenant.tenant_id, "admin_consent": "True"}
            if pending.versioned and pending.scope:
                parameters["scope"] = pending.scope
            return self._go_back(pending, parameters)
        if consented:
            self._consent_for(pending, tenant, user)
        sign_in = SignIn(
            tenant_id=tenant.tenant_id,
            client_id=pending.app.client_id,
            user_id=user.user_id,
            platform=pending.platform,
            redirect_uri=pending.redirect_uri,
            signed_in_at_s=self._directory.clock.time_s(),
            strong=answers_challenge(pending.parameters.get("claims")),
            nonce=pending.parameters.get("nonce"),
        )
        challenge = pending.parameters.get("code_challenge")
        code = AuthorizationCode(
            sign_in=sign_in,
            authority=pending.authority.key,
            scope=pending.scope,
            code_challenge=challenge,
            code_challenge_method=pending.parameters.get("code_challenge_method", "plain") if challenge else None,
            issued_at_s=self._directory.clock.time_s(),
        )
        parameters = {"code": self._directory.tokens.issue_code(code), "session_state": str(uuid.uuid4())}
        return self._go_back(pending, parameters)

    def _consent_for(self, pending: PendingRequest, tenant: Tenant, user: User) -> None:
        directory, app = self._directory, pending.app
        scope = parse_scope(pending.scope, directory, tenant)
        if scope.resource is None:
            return
        declared = app.delegated_permissions.get(scope.resource.uri, frozenset())
        directory.grant_consent(
            tenant_id=tenant.tenant_id,
            client_id=app.client_id,
            resource=scope.resource.uri,
            scopes=declared if scope.is_default else scope.permissions,
            user_id=user.user_id,
        )
        directory.switches.turn_off("consent-required", tenant.tenant_id, app.client_id)

    def _consent_for_everybody(self, pending: PendingRequest, tenant: Tenant) -> None:
        directory, app = self._directory, pending.app
        for uri in {*app.delegated_permissions, *app.application_permissions}:
            directory.grant_consent(
                tenant_id=tenant.tenant_id,
                client_id=app.client_id,
                resource=uri,
                scopes=app.delegated_permissions.get(uri, ()),
                roles=app.application_permissions.get(uri, ()),
            )
        directory.service_principals.add((tenant.tenant_id, app.client_id))
        directory.switches.turn_off("consent-required", tenant.tenant_id, app.client_id)

    # Answers ----------------------------------------------------------------------------------------------------------

    def _tenant_of(self, pending: PendingRequest) -> str:
        tenant = pending.authority.tenant
        return pending.app.home_tenant_id if tenant is None else tenant.tenant_id

    def _find_pending(self, form: dict[str, str]) -> tuple[str, PendingRequest]:
        request_id = form.get("request", "")
        pending = self._pending.get(request_id)
        if pending is None:
            raise EntraError(50089, "This sign-in has expired or was finished already. Start again in the app.")
        return request_id, pending

    def _ask_to_sign_in(self, request: Request, request_id: str, pending: PendingRequest, problem: str) -> Response:
        people = [(user.user_name, user.display_name) for user in self._directory.users_of(self._tenant_of(pending))]
        action = f"/{pending.authority.name}/sandbox/login"
        hint = pending.parameters.get("login_hint", "")
        return HTMLResponse(
            login_page(action, request_id, pending.app.display_name, people[:10], hint, problem), headers=PAGE_HEADERS
        )

    def _problem(self, error: EntraError, request: Request) -> str:
        return self._errors.description(error, str(uuid.uuid4()), correlation_id_of(request))

    def _stuck(self, error: EntraError, request: Request) -> Response:
        return HTMLResponse(stuck_page(self._problem(error, request)), 400, PAGE_HEADERS)

    def _refuse(self, request: Request, pending: PendingRequest, error: EntraError) -> Response:
        parameters = self._errors.as_redirect_parameters(error, request)
        if pending.purpose == "adminconsent" and error.code == 65004:
            parameters["error"] = "access_denied" if pending.versioned else "permission_denied"
        if error.code == 65004:
            parameters["error_subcode"] = "cancel"
        return self._go_back(pending, parameters)

    def _go_back(self, pending: PendingRequest, parameters: dict[str, str]) -> Response:
        """To the redirect URI, in the response mode asked for, with the state unchanged (unless forged by switch)."""
        if pending.state is not None:
            forged = self._directory.switches.use("forged-state", self._tenant_of(pending), pending.app.client_id)
            parameters["state"] = pending.state if forged is None else "forged-" + secrets.token_urlsafe(8)
        if pending.response_mode == "form_post":
            return HTMLResponse(form_post_page(pending.redirect_uri, parameters), headers=PAGE_HEADERS)
        if pending.response_mode == "fragment":
            return RedirectResponse(f"{pending.redirect_uri}#{urlencode(parameters)}", 302)
        return RedirectResponse(_with_parameters(pending.redirect_uri, parameters), 302)


def _with_parameters(uri: str, parameters: dict[str, str]) -> str:
    if not parameters:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(parameters)}"


def _remember(store: OrderedDict[str, T], key: str, value: T) -> str:
    store[key] = value
    while len(store) > REMEMBERED_MAX:
        store.popitem(last=False)
    return key

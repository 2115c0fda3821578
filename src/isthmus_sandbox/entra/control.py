"""Control routes of the Entra simulator, under `/_sandbox/entra/`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from isthmus_sandbox.control_input import (
    BadControlRequest,
    number,
    optional_text,
    read_settings,
    refuse_unknown,
    text,
    text_list,
)
from isthmus_sandbox.entra.app import EntraService
from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.entra.records import BUSINESS_CENTRAL_RESOURCE, CLOUDS, App, Tenant, User
from isthmus_sandbox.entra.switches import ANY, SWITCHES, NextError, UnknownSwitch
from isthmus_sandbox.principal import Principal

TOKEN_LIFETIME_S = 3_600.0
ENDPOINTS = ("token", "authorize", "adminconsent")


def create_entra_control(service: Callable[[], EntraService]) -> list[BaseRoute]:
    """The routes; `service` is asked for each request because a reset replaces it."""
    registry, behaviour = _Registry(service), _Behaviour(service)
    return [
        Route("/", registry.summary),
        Route("/tenants", registry.add_tenant, methods=["POST"]),
        Route("/resources", registry.add_resource, methods=["POST"]),
        Route("/apps", registry.add_app, methods=["POST"]),
        Route("/apps/{client_id}/secrets", registry.add_secret, methods=["POST"]),
        Route("/apps/{client_id}/secrets/{key_id}", registry.remove_secret, methods=["DELETE"]),
        Route("/apps/{client_id}/certificates", registry.add_certificate, methods=["POST"]),
        Route("/apps/{client_id}", registry.change_app, methods=["POST"]),
        Route("/users", registry.add_user, methods=["POST"]),
        Route("/users/{name}", registry.change_user, methods=["POST"]),
        Route("/consents", registry.grant_consent, methods=["POST"]),
        Route("/consents", registry.withdraw_consent, methods=["DELETE"]),
        Route("/switches", behaviour.list_switches, methods=["GET"]),
        Route("/switches", behaviour.set_switch, methods=["POST"]),
        Route("/switches", behaviour.clear_switches, methods=["DELETE"]),
        Route("/next-error", behaviour.next_error, methods=["POST"]),
        Route("/tokens", behaviour.mint_token, methods=["POST"]),
        Route("/tokens/revoke", behaviour.revoke_tokens, methods=["POST"]),
        Route("/token-requests", behaviour.token_requests, methods=["GET"]),
        Route("/keys/rotate", behaviour.rotate_keys, methods=["POST"]),
    ]


def _tenant(directory: Directory, name: str) -> Tenant:
    tenant = directory.find_tenant(name)
    if tenant is None:
        raise BadControlRequest(f"There is no tenant '{name}'.", 404)
    return tenant


def _app(directory: Directory, client_id: str) -> App:
    app = directory.apps.get(client_id.lower())
    if app is None:
        raise BadControlRequest(f"There is no app '{client_id}'.", 404)
    return app


def _user(directory: Directory, name: str) -> User:
    user = directory.find_user(name)
    if user is None:
        raise BadControlRequest(f"There is no user '{name}'.", 404)
    return user


class _Registry:
    """Tenants, apps, users, resources and consents."""

    def __init__(self, service: Callable[[], EntraService]) -> None:
        self._service = service

    @property
    def _directory(self) -> Directory:
        return self._service().directory

    async def summary(self, request: Request) -> Response:
        return JSONResponse(self._directory.summary())

    async def add_tenant(self, request: Request) -> Response:
        settings = await read_settings(request)
        refuse_unknown(settings, {"domain", "tenant_id", "cloud", "display_name", "resources"})
        cloud = next((known for known in CLOUDS if known == settings.get("cloud", "public")), None)
        if cloud is None:
            raise BadControlRequest(f"'cloud' must be one of {', '.join(CLOUDS)}.")
        tenant = self._directory.add_tenant(
            domain=text(settings, "domain"),
            tenant_id=optional_text(settings, "tenant_id"),
            cloud=cloud,
            display_name=optional_text(settings, "display_name"),
            **({"resources": text_list(settings, "resources")} if "resources" in settings else {}),
        )
        return JSONResponse({"tenant_id": tenant.tenant_id, "domain": tenant.domain, "cloud": tenant.cloud}, 201)

    async def add_resource(self, request: Request) -> Response:
        settings = await read_settings(request)
        refuse_unknown(settings, {"uri", "display_name", "scopes", "roles", "tenant"})
        directory = self._directory
        tenant = optional_text(settings, "tenant")
        resource = directory.add_resource(
            text(settings, "uri"),
            display_name=text(settings, "display_name", settings.get("uri")),
            scopes=text_list(settings, "scopes") or ["user_impersonation"],
            roles=text_list(settings, "roles"),
            tenant_id=None if tenant is None else _tenant(directory, tenant).tenant_id,
        )
        return JSONResponse({"uri": resource.uri, "app_id": resource.app_id}, 201)

    async def add_app(self, request: Request) -> Response:
        settings = await read_settings(request)
        lists = {"secrets", "certificates", "web_redirect_uris", "spa_redirect_uris", "public_redirect_uris"}
        flags = {"public_client", "assignment_required"}
        maps = {"delegated_permissions", "application_permissions"}
        refuse_unknown(settings, lists | flags | maps | {"display_name", "tenant", "client_id", "kind"})
        kind = settings.get("kind", "single_tenant")
        if kind not in ("single_tenant", "multi_tenant"):
            raise BadControlRequest("'kind' must be single_tenant or multi_tenant.")
        chosen: dict[str, Any] = {name: text_list(settings, name) for name in lists if name in settings}
        chosen.update({name: bool(settings[name]) for name in flags if name in settings})
        chosen.update({name: settings[name] for name in maps if isinstance(settings.get(name), dict)})
        app = self._directory.add_app(
            display_name=text(settings, "display_name"),
            home_tenant_id=_tenant(self._directory, text(settings, "tenant")).tenant_id,
            client_id=optional_text(settings, "client_id"),
            kind=kind,
            **chosen,
        )
        return JSONResponse({"client_id": app.client_id, "secrets": [asdict(secret) for secret in app.secrets]}, 201)

    async def change_app(self, request: Request) -> Response:
        """`assignment_required`, `assigned_users` (user names), `certificates` and `secrets` emptied with []."""
        settings = await read_settings(request)
        refuse_unknown(settings, {"assignment_required", "assigned_users", "kind"})
        app = _app(self._directory, request.path_params["client_id"])
        if "assignment_required" in settings:
            app.assignment_required = bool(settings["assignment_required"])
        if "assigned_users" in settings:
            names = text_list(settings, "assigned_users")
            app.assigned_user_ids = {_user(self._directory, name).user_id for name in names}
        if settings.get("kind") in ("single_tenant", "multi_tenant"):
            app.kind = settings["kind"]
        return JSONResponse({"client_id": app.client_id, "assignment_required": app.assignment_required})

    async def add_secret(self, request: Request) -> Response:
        """A new secret: `value` (else invented) and `valid_for_s` (else two years); the older ones stay."""
        settings = await read_settings(request)
        refuse_unknown(settings, {"value", "valid_for_s"})
        app = _app(self._directory, request.path_params["client_id"])
        ends = self._directory.clock.time_s() + number(settings, "valid_for_s") if settings.get("valid_for_s") else None
        secret = self._directory.add_secret(app.client_id, optional_text(settings, "value"), expires_at_s=ends)
        return JSONResponse(asdict(secret), 201)

    async def remove_secret(self, request: Request) -> Response:
        app = _app(self._directory, request.path_params["client_id"])
        app.secrets = [secret for secret in app.secrets if secret.key_id != request.path_params["key_id"]]
        return JSONResponse({"secrets": [asdict(secret) for secret in app.secrets]})

    async def add_certificate(self, request: Request) -> Response:
        settings = await read_settings(request)
        refuse_unknown(settings, {"pem"})
        app = _app(self._directory, request.path_params["client_id"])
        try:
            certificate = self._directory.add_certificate(app.client_id, text(settings, "pem"))
        except ValueError as error:
            raise BadControlRequest(f"'pem' is not a certificate: {error}") from error
        return JSONResponse(asdict(certificate), 201)

    async def add_user(self, request: Request) -> Response:
        settings = await read_settings(request)
        refuse_unknown(settings, {"tenant", "user_name", "display_name", "password", "is_admin", "user_id"})
        user = self._directory.add_user(
            tenant_id=_tenant(self._directory, text(settings, "tenant")).tenant_id,
            user_name=text(settings, "user_name"),
            display_name=optional_text(settings, "display_name"),
            password=text(settings, "password", "sandbox"),
            is_admin=bool(settings.get("is_admin", False)),
            user_id=optional_text(settings, "user_id"),
        )
        return JSONResponse(asdict(user), 201)

    async def change_user(self, request: Request) -> Response:
        """`enabled` false: the owner left (50057); `revoke_sessions` true: an admin ended all sign-ins (50173)."""
        settings = await read_settings(request)
        refuse_unknown(settings, {"enabled", "revoke_sessions", "is_admin"})
        user = _user(self._directory, request.path_params["name"])
        user.enabled = bool(settings.get("enabled", user.enabled))
        user.is_admin = bool(settings.get("is_admin", user.is_admin))
        if settings.get("revoke_sessions"):
            user.revoked_at_s = self._directory.clock.time_s()
        return JSONResponse(asdict(user))

    async def grant_consent(self, request: Request) -> Response:
        settings = await read_settings(request)
        refuse_unknown(settings, {"tenant", "app", "resource", "scopes", "roles", "user"})
        directory = self._directory
        name = optional_text(settings, "user")
        consent = directory.grant_consent(
            tenant_id=_tenant(directory, text(settings, "tenant")).tenant_id,
            client_id=_app(directory, text(settings, "app")).client_id,
            resource=text(settings, "resource", BUSINESS_CENTRAL_RESOURCE),
            scopes=text_list(settings, "scopes"),
            roles=text_list(settings, "roles"),
            user_id=None if name is None else _user(directory, name).user_id,
        )
        return JSONResponse({"scopes": sorted(consent.scopes), "roles": sorted(consent.roles)}, 201)

    async def withdraw_consent(self, request: Request) -> Response:
        directory, query = self._directory, request.query_params
        tenant, app = _tenant(directory, query.get("tenant", "")), _app(directory, query.get("app", ""))
        directory.withdraw_consent(tenant_id=tenant.tenant_id, client_id=app.client_id)
        return JSONResponse({"withdrawn": True})


class _Behaviour:
    """Switches, planned errors, tokens and counts."""

    def __init__(self, service: Callable[[], EntraService]) -> None:
        self._service = service

    def _ids(self, settings: dict[str, Any]) -> tuple[str, str]:
        directory = self._service().directory
        tenant, app = optional_text(settings, "tenant"), optional_text(settings, "app")
        return (
            ANY if tenant in (None, ANY) else _tenant(directory, str(tenant)).tenant_id,
            ANY if app in (None, ANY) else str(app).lower(),
        )

    async def list_switches(self, request: Request) -> Response:
        switches = self._service().directory.switches
        return JSONResponse({"set": [asdict(switch) for switch in switches.all()], "known": SWITCHES})

    async def set_switch(self, request: Request) -> Response:
        """`name` and `value` (default true); `tenant`, `app` (default everybody); `times` (default until cleared)."""
        settings = await read_settings(request)
        refuse_unknown(settings, {"name", "value", "tenant", "app", "times"})
        value = settings.get("value", True)
        if not isinstance(value, bool | int | float | str):
            raise BadControlRequest("'value' must be true, false, a number or a text.")
        tenant_id, client_id = self._ids(settings)
        times = int(number(settings, "times")) if settings.get("times") is not None else None
        try:
            switch = self._service().directory.switches.set(
                text(settings, "name"), value, tenant_id=tenant_id, client_id=client_id, times=times
            )
        except UnknownSwitch as error:
            raise BadControlRequest(str(error)) from error
        return JSONResponse(asdict(switch), 201)

    async def clear_switches(self, request: Request) -> Response:
        query = request.query_params
        self._service().directory.switches.clear(
            query.get("name"), tenant_id=query.get("tenant"), client_id=query.get("app")
        )
        return await self.list_switches(request)

    async def next_error(self, request: Request) -> Response:
        settings = await read_settings(request)
        known = {"endpoint", "code", "tenant", "app", "times", "suberror", "claims", "status", "retry_after_s"}
        refuse_unknown(settings, known)
        endpoint, code = text(settings, "endpoint", "token"), int(number(settings, "code"))
        if endpoint not in ENDPOINTS:
            raise BadControlRequest(f"'endpoint' must be one of {', '.join(ENDPOINTS)}.")
        if code not in self._service().errors.catalogue:
            raise BadControlRequest(f"AADSTS{code} is not among the known codes.")
        tenant_id, client_id = self._ids(settings)
        planned = NextError(
            endpoint=endpoint,
            code=code,
            tenant_id=tenant_id,
            client_id=client_id,
            times_left=int(number(settings, "times")) if "times" in settings else 1,
            suberror=optional_text(settings, "suberror"),
            claims=optional_text(settings, "claims"),
            status=int(number(settings, "status")) if "status" in settings else None,
            retry_after_s=int(number(settings, "retry_after_s")) if "retry_after_s" in settings else None,
        )
        self._service().directory.switches.add_next_error(planned)
        return JSONResponse(asdict(planned), 201)

    async def mint_token(self, request: Request) -> Response:
        """An access token without any dance, for tests of the product alone."""
        settings = await read_settings(request)
        refuse_unknown(settings, {"tenant", "app", "user", "resource", "scopes", "roles", "lifetime_s"})
        directory = self._service().directory
        user = optional_text(settings, "user")
        lifetime_s = number(settings, "lifetime_s") if "lifetime_s" in settings else TOKEN_LIFETIME_S
        principal = Principal(
            tenant_id=_tenant(directory, text(settings, "tenant")).tenant_id,
            app_id=_app(directory, text(settings, "app")).client_id,
            user_id=None if user is None else _user(directory, user).user_id,
            audience=text(settings, "resource", BUSINESS_CENTRAL_RESOURCE),
            scopes=frozenset(text_list(settings, "scopes")),
            roles=frozenset(text_list(settings, "roles")),
            expires_at_s=directory.clock.time_s() + lifetime_s,
        )
        token = directory.tokens.issue_access_token(principal)
        return JSONResponse({"access_token": token, "expires_in": lifetime_s}, 201)

    async def revoke_tokens(self, request: Request) -> Response:
        """End access tokens early (`kind` access), or end sign-ins (`kind` refresh)."""
        settings = await read_settings(request)
        refuse_unknown(settings, {"tenant", "app", "kind"})
        tokens = self._service().directory.tokens
        ids = [None if value == ANY else value for value in self._ids(settings)]
        if text(settings, "kind", "access") == "refresh":
            ended = tokens.revoke_sign_ins(tenant_id=ids[0], client_id=ids[1])
        else:
            ended = tokens.revoke_access_tokens(tenant_id=ids[0], client_id=ids[1])
        return JSONResponse({"ended": ended})

    async def token_requests(self, request: Request) -> Response:
        """How often each app used each grant, and what came of it (OA-19)."""
        counts = self._service().token_requests
        rows = [
            {"app": key[0], "grant": key[1], "outcome": key[2], "count": count}
            for key, count in counts.items()
            if request.query_params.get("app", key[0]).lower() == key[0]
        ]
        return JSONResponse({"total": sum(row["count"] for row in rows), "requests": rows})

    async def rotate_keys(self, request: Request) -> Response:
        self._service().keys.rotate()
        return JSONResponse({"rotated": True})

"""The routes of one cloud's sign-in host."""

from __future__ import annotations

from collections import Counter

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from isthmus_sandbox.entra.authority import resolve_authority
from isthmus_sandbox.entra.authorize_endpoint import AuthorizeEndpoint
from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.entra.errors import EntraError, ErrorAnswers
from isthmus_sandbox.entra.keys import SigningKeys
from isthmus_sandbox.entra.records import Cloud
from isthmus_sandbox.entra.token_endpoint import TokenEndpoint


class EntraService:
    """Everything that the clouds share: the directory, the signing keys, the error texts and the token counts."""

    def __init__(self, directory: Directory, keys: SigningKeys) -> None:
        self.directory = directory
        self.keys = keys
        self.errors = ErrorAnswers(directory.clock)
        self.token_requests: Counter[tuple[str, ...]] = Counter()


def create_entra_app(service: EntraService, cloud: Cloud) -> Starlette:
    """The ASGI application of one cloud."""
    documents = _Documents(service, cloud)
    token = TokenEndpoint(service.directory, service.keys, service.errors, cloud, service.token_requests)
    people = AuthorizeEndpoint(service.directory, service.errors, cloud)
    return Starlette(
        routes=[
            Route("/common/discovery/instance", documents.instance_discovery),
            Route("/{tenant}/v2.0/.well-known/openid-configuration", documents.openid_configuration),
            Route("/{tenant}/discovery/v2.0/keys", documents.key_set),
            Route("/{tenant}/oauth2/v2.0/token", token.answer, methods=["POST", "GET", "PUT", "PATCH", "DELETE"]),
            Route("/{tenant}/oauth2/v2.0/authorize", people.authorize, methods=["GET", "POST"]),
            Route("/{tenant}/oauth2/v2.0/logout", people.logout, methods=["GET"]),
            Route("/{tenant}/adminconsent", people.admin_consent, methods=["GET"]),
            Route("/{tenant}/v2.0/adminconsent", people.admin_consent_v2, methods=["GET"]),
            Route("/{tenant}/sandbox/login", people.login, methods=["POST"]),
            Route("/{tenant}/sandbox/consent", people.consent, methods=["POST"]),
        ]
    )


class _Documents:
    """The public documents: OpenID configuration, key set, instance discovery."""

    def __init__(self, service: EntraService, cloud: Cloud) -> None:
        self._service = service
        self._cloud = cloud

    async def openid_configuration(self, request: Request) -> Response:
        """Discovery; on the shared endpoints the issuer is a template with `{tenantid}` (OA-22)."""
        base_url = f"https://{request.headers.get('host', 'localhost')}"
        try:
            authority = resolve_authority(
                self._service.directory, request.path_params["tenant"], self._cloud, wrong_cloud_code=90002
            )
        except EntraError as error:
            return self._service.errors.as_json(error, request)
        name = authority.name
        issuer_tenant = name if authority.tenant is not None else "{tenantid}"
        return JSONResponse(
            {
                "issuer": f"{base_url}/{issuer_tenant}/v2.0",
                "authorization_endpoint": f"{base_url}/{name}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base_url}/{name}/oauth2/v2.0/token",
                "jwks_uri": f"{base_url}/{name}/discovery/v2.0/keys",
                "end_session_endpoint": f"{base_url}/{name}/oauth2/v2.0/logout",
                "response_types_supported": ["code"],
                "response_modes_supported": ["query", "fragment", "form_post"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
                "token_endpoint_auth_methods_supported": [
                    "client_secret_post",
                    "private_key_jwt",
                    "client_secret_basic",
                ],
                "claims_supported": [
                    "sub",
                    "iss",
                    "aud",
                    "exp",
                    "iat",
                    "nonce",
                    "preferred_username",
                    "name",
                    "tid",
                    "oid",
                ],
                "request_uri_parameter_supported": False,
                "tenant_region_scope": None,
            }
        )

    async def key_set(self, request: Request) -> Response:
        """The published signing keys."""
        base_url = f"https://{request.headers.get('host', 'localhost')}"
        return JSONResponse(self._service.keys.published(f"{base_url}/{{tenantid}}/v2.0"))

    async def instance_discovery(self, request: Request) -> Response:
        """What MSAL asks when it does not know a sign-in host."""
        host = request.headers.get("host", "localhost")
        asked = request.query_params.get("authorization_endpoint", f"https://{host}/common/oauth2/v2.0/authorize")
        authority = asked.split("/oauth2/")[0]
        return JSONResponse(
            {
                "tenant_discovery_endpoint": f"{authority}/v2.0/.well-known/openid-configuration",
                "api-version": "1.1",
                "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
            }
        )

"""Switches: misbehaviour on demand, per tenant and app (`oauth/behaviour.md` section 8), and the next error."""

from __future__ import annotations

from dataclasses import dataclass

from isthmus_sandbox.clock import SandboxClock

SwitchValue = bool | int | float | str
ANY = "*"

SWITCHES: dict[str, str] = {
    "auto": "answer sign-in and consent pages without a person: 'accept' or 'deny'",
    "secret-expired": "401 invalid_client 7000222 although the secret is right",
    "secret-wrong": "401 invalid_client 7000215 although the secret is right",
    "two-secrets": "false: only the newest secret is accepted; otherwise every unexpired one",
    "consent-required": "65001 with suberror consent_required until somebody consents again",
    "consent-delay": "seconds after consent during which tokens are still refused with 65001",
    "rt-expired": "700082 for refresh tokens of sign-ins made before the switch was set",
    "rt-revoked": "50173 for refresh tokens of sign-ins made before the switch was set",
    "rt-sif": "70043: true as above, or a number: sign-in frequency in seconds",
    "spa-24h": "refresh tokens die a fixed 24 h after sign-in (700084), whatever the redirect URI",
    "throttle": "429 with Retry-After (the value, in seconds; true means 5; 0 means without the header)",
    "loop": "50196 at once (a real loop of identical requests gets it anyway)",
    "tid-mismatch": "the id_token names another tenant (the value, or an invented one)",
    "id-token-fault": "the id_token is wrong in its 'nonce', 'issuer', 'audience', 'signature' or 'expiry'",
    "forged-state": "the redirect carries another state than the one sent",
    "roleless-app": "app-only tokens are issued without roles: the API answers 401 or 403",
    "inapp-missing": "the app is not registered inside the product: the API answers 401 to a valid token",
    "mfa-claims": "50076 with claims until the user signs in with those claims echoed on authorize",
    "ca-block": "53003: Conditional Access blocks token issuance",
    "stuck-page": "authorize stays on an error page with this code (50011 or 700016) and never redirects",
    "wrong-cloud-code": "code for a tenant of another cloud: 90002, 90038 or 900382",
    "cae": "the resource answers 401 insufficient_claims until a token was asked for with the claims",
    "html-503": "the token endpoint answers an HTML page with status 503",
    "lost-response": "the token request is processed, then the connection is dropped without an answer",
    "slow-refresh": "seconds that a token answer is late (it is decided before the wait)",
    "expires-in": "life of new access tokens in seconds",
    "expires-in-string": "expires_in is sent as a string",
    "granted-scope": "delegated permissions granted at most (bare names, space separated); 'absent': no scope member",
    "pkce-required": "authorize refuses requests without a code_challenge",
    "revoke-earlier-grants": "a new sign-in ends all earlier ones of the same app and user (shared dev and prod app)",
}
"""Every switch and what it does; the control API shows this table."""


@dataclass(slots=True)
class Switch:
    """One switch that is set: its value, since when, and how many more times it acts (None: until cleared)."""

    tenant_id: str
    client_id: str
    name: str
    value: SwitchValue
    since_s: float
    times_left: int | None = None


@dataclass(slots=True)
class NextError:
    """An error to answer at an endpoint (`token`, `authorize` or `adminconsent`) instead of working, `times` times."""

    endpoint: str
    code: int
    tenant_id: str = ANY
    client_id: str = ANY
    times_left: int = 1
    suberror: str | None = None
    claims: str | None = None
    status: int | None = None
    retry_after_s: int | None = None


class UnknownSwitch(ValueError):
    """No switch has that name."""


class Switches:
    """What is set for whom. The most specific setting wins: tenant and app, app, tenant, everybody."""

    def __init__(self, clock: SandboxClock) -> None:
        self._clock = clock
        self._switches: dict[tuple[str, str, str], Switch] = {}
        self._next_errors: list[NextError] = []

    def set(
        self,
        name: str,
        value: SwitchValue,
        *,
        tenant_id: str = ANY,
        client_id: str = ANY,
        times: int | None = None,
    ) -> Switch:
        """Set a switch; `times` lets it act that often and then clears it. Raises UnknownSwitch."""
        if name not in SWITCHES:
            raise UnknownSwitch(f"There is no switch '{name}'. Known: {', '.join(sorted(SWITCHES))}.")
        switch = Switch(tenant_id.lower(), client_id.lower(), name, value, self._clock.time_s(), times)
        self._switches[(switch.tenant_id, switch.client_id, name)] = switch
        return switch

    def clear(self, name: str | None = None, *, tenant_id: str | None = None, client_id: str | None = None) -> None:
        """Forget matching switches; without arguments all of them and the pending errors."""
        if name is None and tenant_id is None and client_id is None:
            self._next_errors.clear()
        for key in list(self._switches):
            if (
                name in (None, key[2])
                and (tenant_id is None or tenant_id.lower() == key[0])
                and (client_id is None or client_id.lower() == key[1])
            ):
                del self._switches[key]

    def turn_off(self, name: str, tenant_id: str, client_id: str) -> None:
        """Clear the setting that is in force for a tenant and app, at whatever level it was set."""
        switch = self.peek(name, tenant_id, client_id)
        if switch is not None:
            del self._switches[(switch.tenant_id, switch.client_id, name)]

    def all(self) -> list[Switch]:
        """Everything that is set."""
        return list(self._switches.values())

    def peek(self, name: str, tenant_id: str = ANY, client_id: str = ANY) -> Switch | None:
        """The switch in force, without counting a use; a value of false means off."""
        for key in ((tenant_id, client_id), (ANY, client_id), (tenant_id, ANY), (ANY, ANY)):
            switch = self._switches.get((key[0], key[1], name))
            if switch is not None:
                return switch
        return None

    def use(self, name: str, tenant_id: str = ANY, client_id: str = ANY) -> Switch | None:
        """The switch in force if it is on, counting one use."""
        switch = self.peek(name, tenant_id, client_id)
        if switch is None or switch.value is False:
            return None
        if switch.times_left is not None:
            switch.times_left -= 1
            if switch.times_left <= 0:
                del self._switches[(switch.tenant_id, switch.client_id, name)]
        return switch

    def add_next_error(self, error: NextError) -> None:
        """Queue an error for an endpoint."""
        self._next_errors.append(error)

    def take_next_error(self, endpoint: str, tenant_id: str, client_id: str) -> NextError | None:
        """The first queued error that fits, counting one use."""
        for error in self._next_errors:
            if (
                error.endpoint == endpoint
                and error.tenant_id in (ANY, tenant_id)
                and error.client_id in (ANY, client_id)
            ):
                error.times_left -= 1
                if error.times_left <= 0:
                    self._next_errors.remove(error)
                return error
        return None

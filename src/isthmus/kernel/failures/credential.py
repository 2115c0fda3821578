"""The identity provider or the API does not accept who we are."""

from __future__ import annotations

from isthmus.kernel.failures.base import Failure, Turn


class CredentialFailure(Failure):
    """The identity provider or the API does not accept who we are."""

    code, turn = "credential", Turn.YOU
    message_default = "The credentials were not accepted."
    remedy_default = "Check the connection to see which step fails."


class SecretWrong(CredentialFailure):
    """The client secret is not the right one."""

    code = "secret_wrong"
    message_default = "The client secret is wrong."
    remedy_default = (
        "Paste the secret's Value, not its Secret ID (Entra admin centre → App registrations → Certificates & secrets)."
    )


class SecretExpired(CredentialFailure):
    """The client secret or certificate has expired. Connection, tokens and cursors are kept."""

    code = "secret_expired"
    message_default = "The client secret has expired."
    remedy_default = "Create a new client secret in Entra and enter it here; no new consent is needed."


class SignInAgain(CredentialFailure):
    """The grant is gone: somebody has to sign in again."""

    code, turn = "sign_in_again", Turn.CUSTOMER_ADMIN
    message_default = "The sign-in is no longer valid."
    remedy_default = "Sign in again for the same connection; its data and its place are kept."


class ConsentMissing(CredentialFailure):
    """The app has no consent in that tenant."""

    code, turn = "consent_missing", Turn.CUSTOMER_ADMIN
    message_default = "The app has not been granted consent in this tenant."
    remedy_default = "An administrator of the tenant has to open the admin-consent link and accept."


class IdentityConfiguration(CredentialFailure):
    """Tenant, app registration, cloud, redirect or policy has to change first."""

    code = "identity_configuration"
    message_default = "The app registration or tenant settings do not allow this sign-in."
    remedy_default = "Correct the app registration, the tenant id or the policy named in the vendor's message."


class AppNotRegistered(CredentialFailure):
    """The token is valid, but Business Central does not know the app (BC-17)."""

    code, turn = "app_not_registered", Turn.CUSTOMER_ADMIN
    message_default = "The app is not registered inside Business Central."
    remedy_default = (
        "In Business Central open “Microsoft Entra Applications”, add the client id, set State to Enabled and assign "
        "permission sets (for example D365 BASIC ISV), then choose Grant Consent."
    )


class AccessTokenRejected(CredentialFailure):
    """The API answers 401 although the token is fresh."""

    code = "access_token_rejected"
    message_default = "The vendor rejects a freshly issued access token."
    remedy_default = "Check tenant, environment and the app's consent in that environment, then reconnect."


class PermissionMissing(CredentialFailure):
    """The app or user lacks a permission."""

    code, turn = "permission_missing", Turn.CUSTOMER_ADMIN
    message_default = "A permission is missing."
    remedy_default = "Assign the permission set or application permission named in the vendor's message."


class IdentityMismatch(CredentialFailure):
    """A sign-in answered for another tenant than the connection's."""

    code, turn = "identity_mismatch", Turn.CUSTOMER_ADMIN
    message_default = "The sign-in belongs to another tenant than this connection."
    remedy_default = "Sign in with an account of the connection's tenant, or create a new connection."

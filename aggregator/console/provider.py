"""The identity provider, by OpenID Connect: who somebody is, proved by a signed token; never what one may do.

Rules, in this order (OpenID Connect Core 1.0; RFC 7636):
1. Requests go to the issuer's origin, or one that the settings list, by HTTPS (HTTP on loopback alone), and inside
   only where the settings say so (outgoing.py); redirects are not followed, answers are bounded and not compressed,
   and the environment names no proxy.
2. The discovery document names the configured issuer, exactly.
3. The code is exchanged with its PKCE verifier (S256) and the client's secret.
4. The ID token is signed by a key of the provider with an asymmetric algorithm; issuer, audience, authorised party,
   times, nonce and the access token's hash are those of this request.
5. The settings' `required_amr` are among the token's: how the provider made sure.
6. An email counts only as verified, from the token or from userinfo of the same subject.
Role and scope are not read from any claim. Secrets and tokens are not logged.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote_plus, urlsplit

import httpx
import structlog
from authlib.common.errors import AuthlibBaseError
from authlib.oauth2.client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from aggregator.outgoing import Outgoing
from aggregator.settings import Oidc, Settings
from privacy.clock import Clock
from privacy.errors import ConfigurationError, NotAllowed, NotAuthenticated, ServiceUnavailable

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 1 << 18
KEPT_SECONDS = 3600.0
KEYS_AGAIN_SECONDS = 60.0
PATIENCE_SECONDS = 2.0
AGAIN_SECONDS = 10.0
LEEWAY_SECONDS = 60

_log = structlog.get_logger("chorale.provider")


@dataclass(frozen=True)
class Identity:
    """subject: of the one issuer. email: None unless the provider verified it."""

    subject: str
    email: str | None


@dataclass(frozen=True)
class _Known:
    metadata: Mapping[str, Any]
    keys: KeySet
    at: float


class Provider:
    """One issuer; thread-safe. transport: how it is reached, the network unless given."""

    def __init__(
        self, oidc: Oidc, settings: Settings, clock: Clock, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._settings = oidc
        self._redirect_uri = f"{settings.url}/console/oidc/return"
        self._clock = clock
        self._secret = oidc.secret(settings.folder)
        self._origins = frozenset({origin_of(oidc.issuer), *map(origin_of, oidc.origins)})
        self._http = httpx.Client(
            timeout=TIMEOUT_SECONDS,
            follow_redirects=False,
            trust_env=False,
            transport=transport or Outgoing(settings.names_inside, trust_env=False),
            headers={"accept-encoding": "identity"},
        )
        self._lock = threading.Lock()
        self._known: _Known | None = None
        self._failed_at = float("-inf")

    @property
    def issuer(self) -> str:
        return self._settings.issuer

    def authorization_url(self, state: str, nonce: str, verifier: str) -> str:
        """Where the browser goes. Raises ServiceUnavailable, NotAuthenticated."""
        endpoint = self._endpoint(self._discovered().metadata, "authorization_endpoint")
        self._check_origin(endpoint)
        url, _ = self._client().create_authorization_url(endpoint, state=state, nonce=nonce, code_verifier=verifier)
        return str(url)

    def identity(self, code: str, nonce: str, verifier: str) -> Identity:
        """Rules 3 to 6. Raises NotAuthenticated, ServiceUnavailable."""
        metadata = self._discovered().metadata
        try:
            token = self._client().fetch_token(
                self._endpoint(metadata, "token_endpoint"),
                grant_type="authorization_code",
                code=code,
                redirect_uri=self._redirect_uri,
                code_verifier=verifier,
                # RFC 6749, 2.3.1: both are form-encoded before they are joined.
                auth=httpx.BasicAuth(quote_plus(self._settings.client_id), quote_plus(self._secret)),
            )
        except (AuthlibBaseError, httpx.HTTPStatusError, ValueError) as error:
            raise _refused("a code that the provider takes", type(error).__name__) from error
        claims = self._claims(token, nonce)
        missing = set(self._settings.required_amr) - set(claims.get("amr") or ())
        if missing:
            raise _refused(f"a sign-in by {', '.join(sorted(self._settings.required_amr))}", "one without")
        subject = claims["sub"]
        if not isinstance(subject, str) or not 1 <= len(subject) <= 255 or not subject.isprintable():
            raise _refused("a subject of 1 to 255 characters", "another")
        if "email" not in claims and "userinfo_endpoint" in metadata:
            claims = self._userinfo(self._endpoint(metadata, "userinfo_endpoint"), token, subject)
        email = claims.get("email")
        verified = claims.get("email_verified") is True and isinstance(email, str) and len(email) <= 254
        return Identity(subject, email if verified else None)

    def close(self) -> None:
        self._http.close()

    def post(self, url: str, **options: Any) -> httpx.Response:
        """What Authlib's client calls: rule 1."""
        return self._request("POST", url, **options)

    def _client(self) -> Any:
        client: Any = OAuth2Client(
            self,
            client_id=self._settings.client_id,
            scope="openid email",
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
        )
        return client

    def _discovered(self, keys_older_than: float | None = None) -> _Known:
        """Rule 2; kept for KEPT_SECONDS, or made anew where it is older than asked."""
        now = self._clock.now()
        oldest = now - KEPT_SECONDS if keys_older_than is None else keys_older_than
        # While the provider does not answer, requests for it must not pile up: one at a time finds out.
        if not self._lock.acquire(timeout=PATIENCE_SECONDS):
            raise ServiceUnavailable(f"an answer from {self.issuer}", "none yet", "try again in a while")
        try:
            if self._known is None or self._known.at < oldest:
                if abs(now - self._failed_at) < AGAIN_SECONDS:
                    raise ServiceUnavailable(f"an answer from {self.issuer}", "none lately", "try again in a while")
                self._failed_at = now
                self._known = self._discover(now)
                self._failed_at = float("-inf")
            return self._known
        finally:
            self._lock.release()

    def _discover(self, now: float) -> _Known:
        metadata = self._json(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
        if metadata.get("issuer") != self.issuer:
            raise _refused(f"the discovery document of {self.issuer}", "another issuer's")
        try:
            keys: Any = self._json(self._endpoint(metadata, "jwks_uri"))
            return _Known(metadata, KeySet.import_key_set(keys), now)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise _refused("the provider's keys", type(error).__name__) from error

    def _claims(self, token: Mapping[str, Any], nonce: str) -> CodeIDToken:
        """Rule 4."""
        raw = token.get("id_token")
        if not isinstance(raw, str):
            raise _refused("an ID token", "none")
        registry = JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)
        try:
            try:
                decoded = jwt.decode(raw, self._discovered().keys, registry=registry)
            except InvalidKeyIdError:
                # The provider may have new keys; asked again at most once in KEYS_AGAIN_SECONDS.
                again = self._discovered(self._clock.now() - KEYS_AGAIN_SECONDS)
                decoded = jwt.decode(raw, again.keys, registry=registry)
            options = {
                "iss": {"essential": True, "value": self._settings.issuer},
                "aud": {"essential": True, "value": self._settings.client_id},
                "nonce": {"essential": True, "value": nonce},
            }
            bound = {
                "nonce": nonce,
                "client_id": self._settings.client_id,
                "access_token": token.get("access_token"),
            }
            claims = CodeIDToken(decoded.claims, decoded.header, options, bound)
            claims.validate(now=int(self._clock.now()), leeway=LEEWAY_SECONDS)
        except (JoseError, AuthlibBaseError, ValueError, TypeError, KeyError) as error:
            raise _refused("a valid ID token", f"{type(error).__name__}: {error}"[:200]) from error
        return claims

    def _userinfo(self, url: str, token: Mapping[str, Any], subject: str) -> Mapping[str, Any]:
        claims = self._json(url, headers={"authorization": f"Bearer {token.get('access_token')}"})
        if claims.get("sub") != subject:
            raise _refused("userinfo of the same subject", "another's")
        return claims

    def _json(self, url: str, **options: Any) -> Mapping[str, Any]:
        try:
            answer: Any = self._request("GET", url, **options).raise_for_status().json()
        except (httpx.HTTPStatusError, ValueError, RecursionError) as error:
            raise _refused(f"JSON from {url}", type(error).__name__) from error
        if not isinstance(answer, dict):
            raise _refused(f"a JSON object from {url}", "another value")
        return answer

    def _request(self, method: str, url: str, **options: Any) -> httpx.Response:
        self._check_origin(url)
        try:
            with self._http.stream(method, url, **options) as answer:
                # A few kilobytes, twice compressed, unpack to gigabytes before they can be counted.
                if answer.headers.get("content-encoding", "identity").lower() != "identity":
                    raise _refused(f"an answer from {url} as it is", "a compressed one", "tell the provider")
                content = bytearray()
                for piece in answer.iter_bytes():
                    content += piece
                    if len(content) > MAX_ANSWER_BYTES:
                        raise _refused(f"an answer of at most {MAX_ANSWER_BYTES} bytes from {url}", "a longer one")
                if 300 <= answer.status_code < 400:
                    raise _refused(f"an answer from {url}", "a redirect")
                return httpx.Response(answer.status_code, content=bytes(content), request=answer.request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if isinstance(error.__cause__, NotAllowed):  # for the operator: who signs in learns no address inside
                _log.warning("provider-away", why=str(error.__cause__))
            raise ServiceUnavailable(
                f"an answer from {origin_of(url)}", type(error).__name__, "try again in a while"
            ) from error

    def _check_origin(self, url: str) -> None:
        try:
            known = origin_of(url) in self._origins
        except ConfigurationError:
            known = False
        if not known:
            origins = ", ".join(sorted(self._origins))
            raise _refused(f"an address of {origins}", url[:200], "list its origin in oidc.origins")

    @staticmethod
    def _endpoint(metadata: Mapping[str, Any], name: str) -> str:
        value = metadata.get(name)
        if not isinstance(value, str):
            raise _refused(f"a discovery document with {name}", "one without")
        return value


def origin_of(url: str) -> str:
    """Scheme, host and port. Raises ConfigurationError unless it is HTTPS, or HTTP on loopback."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = (parts.hostname or "").lower()
    loopback = host in ("localhost", "127.0.0.1", "::1")
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and loopback)):
        raise ConfigurationError("an https address (http on loopback alone)", url[:200], "correct it")
    return f"{parts.scheme}://{host}:{port or (443 if parts.scheme == 'https' else 80)}"


def _refused(expected: str, came: str, remedy: str = "begin again, or tell the operator") -> NotAuthenticated:
    return NotAuthenticated(expected, came, remedy)

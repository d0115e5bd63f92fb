"""The tokens of operators, who may do everything, and of publishers, who may publish and nothing else."""

import hmac
from http import HTTPStatus

from wsctl.control.operations import ControlError


class OperatorTokens:
    """The tokens that the control routes take; None where there is none of a kind."""

    def __init__(self, token: str | None, publish_token: str | None) -> None:
        self._token, self._publish_token = _encoded(token), _encoded(publish_token)

    def allow(self, given: str, *, publishing: bool) -> bool:
        """Tell whether a token lets its holder ask for an operation, or for one that is `publishing`."""
        return self._is(self._token, given) or (publishing and self._is(self._publish_token, given))

    def find_error(self, given: str, *, publishing: bool) -> ControlError | None:
        """Return why a token does not let its holder ask for an operation; None if it does."""
        if self.allow(given, publishing=publishing):
            return None
        if self._is(self._publish_token, given):
            text = "this token may publish, and nothing else: send the server's token (WSCTL_TOKEN_FILE)"
            return ControlError(HTTPStatus.FORBIDDEN, "publish_only", text)
        if self._token is None and not (publishing and self._publish_token):
            text = "only through the control socket: this server has no token (WSCTL_TOKEN_FILE)"
            return ControlError(HTTPStatus.FORBIDDEN, "control_only", text)
        return ControlError(
            HTTPStatus.UNAUTHORIZED, "bad_token", "send the server's token: Authorization: Bearer TOKEN"
        )

    def _is(self, token: bytes | None, given: str) -> bool:
        return token is not None and hmac.compare_digest(given.encode(errors="replace"), token)


def _encoded(token: str | None) -> bytes | None:
    return None if token is None else token.encode()

"""Shows URLs without their secrets (D28)."""

import re

_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^/?#@\s:]*):[^/?#\s]*@")
_SECRETS = re.compile(r"(?P<key>[?&](?:password|token|secret|keyfile_password|cadata)=)[^&#\s]*", re.IGNORECASE)


def mask_secrets(text: str) -> str:
    """Return `text` with the password of every URL in it, and secret query values, replaced by `***`."""
    return _SECRETS.sub(r"\g<key>***", _USERINFO.sub(r"\g<scheme>\g<user>:***@", text))

"""A request as a tier wants it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pytest_tiers.cassettes.matching import SentRequest
from pytest_tiers.override.keys import PLACEHOLDER
from pytest_tiers.tiers import Tier

#: Headers that say who asks: they are for the application's own host.
_IDENTITY = re.compile(r"auth|key|token|secret|cookie|openai-(organization|project)")

#: Headers that belong to the body as the application sent it.
_FRAMING = frozenset({"content-length", "transfer-encoding", "host"})

_AZURE_DEPLOYMENT = re.compile(r"(?<=/deployments/)[^/]+(?=/)")


def as_tier(request: SentRequest, tier: Tier) -> SentRequest:
    """The request as the tier wants it, with the key in its variable; `CURRENT` changes nothing."""
    if tier.is_current:
        return request
    key = os.environ.get(tier.api_key_env) if tier.api_key_env else None
    return rewritten(request, tier, key)


def rewritten(request: SentRequest, tier: Tier, key: str | None) -> SentRequest:
    """The request with the tier's model, parameters, base URL and key.

    ``key`` is the value of the tier's own key variable; without one the application's key
    stays, but never goes to another base URL. A tier without ``base_url`` is asked where the
    application asks; an Azure deployment in the path takes the tier's model as its name.
    """
    body = json.dumps(_body(request.json, tier)).encode()
    headers = {name: value for name, value in request.headers.items() if name not in _FRAMING}
    parts = urlsplit(request.url)
    if tier.base_url is None:
        path = _AZURE_DEPLOYMENT.sub(str(tier.model), parts.path)
        url = urlunsplit(parts._replace(path=path))
    else:
        base = urlsplit(tier.base_url)
        url = urlunsplit(base._replace(path=f"{base.path.rstrip('/')}/{request.endpoint}"))
        has_key = PLACEHOLDER not in headers.get("authorization", "")
        if not has_key or (base.scheme, base.netloc) != (parts.scheme, parts.netloc):
            headers = {name: headers[name] for name in headers if not _IDENTITY.search(name)}
    if key is not None and "api-key" in headers:
        headers["api-key"] = key  # an Azure resource
    elif key is not None:
        headers["authorization"] = f"Bearer {key}"
    # httpx fills in the host; a missing content-length would mean chunks.
    headers["content-length"] = str(len(body))
    return SentRequest(request.method, url, headers, body)


def _body(body: Mapping[str, Any], tier: Tier) -> dict[str, Any]:
    """The JSON body: renamed, then dropped, then set parameters; the model last."""
    renamed = {tier.rename_params.get(name, name): value for name, value in body.items()}
    kept = {name: value for name, value in renamed.items() if name not in tier.drop_params}
    return {**kept, **tier.params, "model": tier.model}

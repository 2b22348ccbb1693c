"""Tiers (named models with endpoint, parameters and price) and the ladder of a run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from msgspec import Struct, field

#: The built-in tier that leaves the application's own calls as they are.
CURRENT = "current"


class Price(Struct, frozen=True):
    """What a model costs, in USD per million tokens.

    ``cached_input`` None means that cached input tokens cost as much as other input tokens.
    """

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None


class Tier(Struct, frozen=True):
    """A named model with its endpoint, parameters and price.

    ``model`` is None only for `CURRENT`. Without ``base_url`` calls go where the application
    sends them; without ``api_key_env`` they keep the application's key, but never take it to
    another ``base_url``. ``price`` wins over ``price_as``, which names a model whose public
    price applies. ``retires`` is the day on which its provider ends the model.
    """

    name: str
    model: str | None
    base_url: str | None = None
    api_key_env: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    drop_params: tuple[str, ...] = ()
    rename_params: Mapping[str, str] = field(default_factory=dict)
    price: Price | None = None
    price_as: str | None = None
    retires: date | None = None

    @property
    def is_current(self) -> bool:
        """Whether this tier leaves the application's own calls as they are."""
        return self.model is None


class Ladder(Struct, frozen=True):
    """The tiers of a run, cheapest first, one of which is the flagship."""

    tiers: tuple[Tier, ...]
    flagship: str

    @property
    def names(self) -> tuple[str, ...]:
        """The tiers' names, cheapest first."""
        return tuple(tier.name for tier in self.tiers)

    @property
    def candidates(self) -> tuple[Tier, ...]:
        """Every tier but the flagship, cheapest first."""
        return tuple(tier for tier in self.tiers if tier.name != self.flagship)

    def __getitem__(self, name: str) -> Tier:
        for tier in self.tiers:
            if tier.name == name:
                return tier
        raise KeyError(name)


#: Tiers that need no configuration. DeepSeek carries its own price (USD per million tokens,
#: api-docs.deepseek.com/quick_start/pricing for V3.2): genai-prices still lists the older one.
BUILT_IN: Mapping[str, Tier] = MappingProxyType(
    {
        tier.name: tier
        for tier in (
            Tier("nano", "gpt-5.4-nano"),
            Tier("mini", "gpt-5.4-mini"),
            Tier("full", "gpt-5.4"),
            Tier(
                "deepseek",
                "deepseek-chat",
                base_url="https://api.deepseek.com/v1",
                api_key_env="DEEPSEEK_API_KEY",
                price=Price(Decimal("0.28"), Decimal("0.42"), Decimal("0.028")),
            ),
            Tier(
                "kimi",
                "kimi-k2.5",
                base_url="https://api.moonshot.ai/v1",
                api_key_env="MOONSHOT_API_KEY",
            ),
            Tier(CURRENT, None),
        )
    }
)

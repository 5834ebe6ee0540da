"""Settings of every service: dataclasses, their variables, and how a text becomes a value."""

from services.runtime.settings.settings import (
    BufferSettings,
    EdgeSettings,
    NatsSettings,
    SettingRow,
    Settings,
    SettingsError,
    SynthesisSettings,
    load_settings,
    load_settings_or_exit,
    settings_markdown,
    settings_table,
)

__all__ = [
    "BufferSettings",
    "EdgeSettings",
    "NatsSettings",
    "SettingRow",
    "Settings",
    "SettingsError",
    "SynthesisSettings",
    "load_settings",
    "load_settings_or_exit",
    "settings_markdown",
    "settings_table",
]

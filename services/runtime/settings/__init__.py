"""Settings of every service: dataclasses, the variables that set them, and how they are read."""

from services.runtime.settings.load import SettingsError, load_settings, load_settings_or_exit
from services.runtime.settings.settings import (
    BufferSettings,
    EdgeSettings,
    NatsSettings,
    Settings,
    SynthesisSettings,
)
from services.runtime.settings.table import SettingRow, settings_markdown, settings_table

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

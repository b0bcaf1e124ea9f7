"""How the screen looks: two themes, one sheet of styles, and what names look like on either."""

from __future__ import annotations

from functools import lru_cache

from rich.style import Style
from textual.color import Color
from textual.theme import Theme

DARK = Theme(
    name="dark",
    primary="#6cb6c4",
    secondary="#8aa0b6",
    accent="#e8a54b",
    warning="#e8a54b",
    error="#e5707b",
    success="#7fbf8e",
    foreground="#d8dee4",
    background="#14181d",
    surface="#191e24",
    panel="#20262d",
    dark=True,
    variables={"muted": "#7b8794", "faint": "#3d4650", "input-selection-background": "#6cb6c4 35%"},
)
LIGHT = Theme(
    name="light",
    primary="#1f7a8c",
    secondary="#52667a",
    accent="#b35c00",
    warning="#b35c00",
    error="#b3303d",
    success="#2f7d46",
    foreground="#22282e",
    background="#fbfaf7",
    surface="#f3f1ec",
    panel="#e9e6df",
    dark=False,
    variables={"muted": "#737b84", "faint": "#cfcbc2", "input-selection-background": "#1f7a8c 25%"},
)
THEMES = {"dark": DARK, "light": LIGHT}


@lru_cache(maxsize=64)
def name_style(color: str, dark: bool) -> Style:
    """A person's colour, brightened or darkened for the background it stands on."""
    tinted = Color.parse(color).blend(Color.parse("#ffffff" if dark else "#000000"), 0.3 if dark else 0.12)
    return Style(color=tinted.rich_color, bold=True)


CSS = """
Screen {
    background: $background;
    color: $foreground;
}
#frame { height: 1fr; }
#middle { height: 1fr; layers: base over; }
#talk { width: 1fr; min-width: 16; height: 1fr; }

#title { height: 1; background: $panel; color: $foreground; }
#banner { height: 1; background: $warning 18%; color: $warning; padding: 0 1; }
#hints { height: auto; min-height: 1; background: $surface; color: $muted; padding: 0 1; }

.panel {
    width: 22;
    height: 1fr;
    padding: 0;
    border: none;
    background: $surface;
    scrollbar-size-vertical: 1;
    scrollbar-color: $faint;
    scrollbar-color-hover: $muted;
    scrollbar-color-active: $primary;
    scrollbar-background: $surface;
    scrollbar-background-hover: $surface;
    scrollbar-background-active: $surface;
}
.panel:focus { background: $panel; border: none; background-tint: $foreground 0%; }
.panel > .option-list--option { padding: 0 1; color: $secondary; }
.panel > .option-list--option-disabled { color: $muted; text-style: none; }
.panel > .option-list--option-hover { background: $foreground 6%; }
.panel > .option-list--option-highlighted { background: transparent; color: $secondary; text-style: none; }
.panel:focus > .option-list--option-highlighted { background: $primary 30%; color: $foreground; }
#rooms > .option-list--option-highlighted { background: $primary 16%; color: $foreground; text-style: bold; }
#rooms:focus > .option-list--option-highlighted { background: $primary 35%; }
.panel.-over { layer: over; width: 26; max-width: 80%; background: $panel; }
#rooms.-over { dock: left; }
#members.-over { dock: right; }
.panel.-folded { display: none; }

TranscriptView {
    background: $background;
    scrollbar-size-vertical: 1;
    scrollbar-color: $faint;
    scrollbar-color-hover: $muted;
    scrollbar-color-active: $primary;
    scrollbar-background: $background;
    scrollbar-background-hover: $background;
    scrollbar-background-active: $background;
    overflow-y: scroll;
    overflow-x: hidden;
    padding: 0 0 0 1;
}
TranscriptView > .transcript--time { color: $muted; }
TranscriptView > .transcript--text { color: $foreground; }
TranscriptView > .transcript--notice { color: $secondary; }
TranscriptView > .transcript--presence { color: $muted; }
TranscriptView > .transcript--fold { color: $muted; }
TranscriptView > .transcript--link { color: $warning; }
TranscriptView > .transcript--answer { color: $secondary; }
TranscriptView > .transcript--problem { color: $error; }
TranscriptView > .transcript--address { color: $primary; text-style: underline; }
TranscriptView > .transcript--mention { color: $accent; text-style: bold; }
TranscriptView > .transcript--pending { color: $muted; text-style: italic; }
TranscriptView > .transcript--state { color: $muted; }
TranscriptView > .transcript--bot { color: $muted; }
TranscriptView > .transcript--day { color: $muted; }
TranscriptView > .transcript--day-rule { color: $faint; }
TranscriptView > .transcript--new { color: $accent; text-style: bold; }
TranscriptView > .transcript--new-rule { color: $accent 50%; }
TranscriptView > .transcript--top { color: $muted; text-style: italic; }
TranscriptView > .transcript--button { color: $background; background: $error; text-style: bold; }

Composer {
    height: auto;
    min-height: 2;
    max-height: 10;
    border: none;
    border-top: solid $faint;
    border-bottom: none;
    padding: 0 1;
    background: $background;
    scrollbar-size-vertical: 1;
}
Composer:focus { border: none; border-top: solid $primary 60%; background-tint: $foreground 0%; }
Composer > .text-area--cursor-line { background: $background; }
Composer > .text-area--placeholder { color: $muted; }

#choices {
    height: auto;
    max-height: 8;
    border: none;
    padding: 0 1;
    background: $panel;
    display: none;
}
#choices > .option-list--option-highlighted { background: $primary 35%; color: $foreground; }

Dialog { align: center middle; background: $background 60%; }
Dialog > Vertical {
    width: 64;
    max-width: 94%;
    height: auto;
    max-height: 80%;
    background: $panel;
    border: round $primary 60%;
    border-title-color: $primary;
    border-subtitle-color: $muted;
    padding: 0 1;
}
Help > Vertical { width: 84; }
Dialog Input { border: none; height: 1; padding: 0; margin: 0 0 1 0; background: $panel; }
Dialog Input:focus { border: none; background-tint: $foreground 0%; }
Dialog OptionList {
    height: auto;
    max-height: 16;
    border: none;
    padding: 0;
    background: $panel;
    scrollbar-size-vertical: 1;
}
Dialog OptionList:focus { border: none; background-tint: $foreground 0%; }
Dialog OptionList > .option-list--option-highlighted {
    background: $primary 35%;
    color: $foreground;
    text-style: none;
}
Dialog #nothing { color: $muted; display: none; }
Dialog VerticalScroll { height: auto; max-height: 100%; scrollbar-size-vertical: 1; }

Toast { background: $panel; }
"""

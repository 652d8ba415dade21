"""How numbers look on the page: short, aligned, with a unit."""

from __future__ import annotations

import math


def percent(fraction: float) -> str:
    """0.9812 -> "98.1 %", with a narrow no-break space before the sign."""
    return f"{100 * fraction:.1f}\u202f%"


def whole_percent(fraction: float) -> str:
    """0.8 -> "80 %", 0.975 -> "97.5 %": for the ticks of an axis."""
    return f"{100 * fraction:.6g}\u202f%"


def short(value: float) -> str:
    """About three significant digits: 0.000123 -> "1.23e-4", 12345 -> "12,345", 0.5 -> "0.5"."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 0.01:
        return f"{value:.3g}"
    mantissa, exponent = f"{value:.3g}".split("e") if "e" in f"{value:.3g}" else f"{value:.2e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent)}"


def file_size(count: int) -> str:
    """Bytes for people: 1234567 -> "1.2 MB" (powers of 1000, as file managers show them)."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"

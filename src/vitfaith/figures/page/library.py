"""The JavaScript of the chart library: Vega, Vega-Lite and Vega-Embed as one text, so that the page needs no network."""

from __future__ import annotations

from functools import cache


@cache
def library() -> str:
    """The bundle that vl-convert ships, which defines ``vegaEmbed``; no text in it ends the element that holds it."""
    import vl_convert

    text: str = vl_convert.javascript_bundle(snippet="window.vegaEmbed = vegaEmbed;")
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")

"""How figures are drawn: data, style, names, sheets, files."""

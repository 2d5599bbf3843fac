"""Files that readers of datasets share: formats, folders, lists of classes, and preprocessing."""

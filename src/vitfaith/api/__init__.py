"""The public names of ``import vitfaith``: one function of a noun each, for arrays in memory instead of files."""

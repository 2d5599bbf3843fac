"""The command line: one verb a stage (what the rules call), and verbs that tell what exists and whether a config holds."""

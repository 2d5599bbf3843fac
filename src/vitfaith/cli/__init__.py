"""The command line: one verb per stage, called by the rules, and verbs for people (check, plan, show, diff …)."""

"""From a checked study to what must exist and what each job depends on. Imports neither torch nor timm."""

"""Files on disk: Arrow schemas, atomic writes, checked readers, provenance."""

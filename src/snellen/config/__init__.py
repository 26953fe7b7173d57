"""Run files: schema, reading, settling what is `auto`, writing."""

"""The portal's configuration as one document: read from YAML, compared, applied as a whole, exported."""

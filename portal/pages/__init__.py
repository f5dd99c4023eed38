"""The portal's own pages that see every app."""

"""The portal's pages about flags, releases and deployments."""

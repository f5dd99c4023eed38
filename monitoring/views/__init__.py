"""The portal's pages about incidents."""

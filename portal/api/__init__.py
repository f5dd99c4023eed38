"""The REST API: the kernel's own doors, and the addresses of all of them."""

"""The portal's own application, with one more chart that anybody signed in may watch."""

import portal.asgi  # first: it sets Django up
from bench.frames import frame
from portal import live

live.chart("bench", may=lambda user, what: True, frame=lambda what: frame())
application = portal.asgi.application

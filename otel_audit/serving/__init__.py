"""A request on its way through a server's door, whatever framework serves it: WSGI, ASGI."""

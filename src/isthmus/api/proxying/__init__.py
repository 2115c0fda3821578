"""`/v1/proxy/{path}`: a raw call to a connection's environment, in any verb, streamed both ways.

What comes in is an ASGI request as the server has it, what goes out the vendor's answer as it was. The rooms below do
the calling; here stand the door (who, to what), the caller's request, the connections of a moment ago, and the way
back. The framework is not on this road ([decision 12](docs/decisions/0012-the-proxys-own-door.md)).
"""

from isthmus.api.proxying.door import ProxyDoor
from isthmus.api.proxying.incoming import CONNECTION_HEADER, SMALL_BYTES_MAX

__all__ = ["CONNECTION_HEADER", "SMALL_BYTES_MAX", "ProxyDoor"]

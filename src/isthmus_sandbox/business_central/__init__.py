"""Business Central as a wire-faithful simulator: API v2.0, Automation API, other and custom API routes, ODataV4.

In: HTTP calls with tokens of the Entra simulator. Out: what the vendor would answer
(`reference/business-central/behaviour.md`). State lives in `BusinessCentralService`, the HTTP face in
`create_business_central_app`, the steering wheel in `create_business_central_control`.

Must never be in it: an import of `isthmus`.
"""

from isthmus_sandbox.business_central.app import create_business_central_app
from isthmus_sandbox.business_central.control import create_business_central_control
from isthmus_sandbox.business_central.service import BusinessCentralService

__all__ = ["BusinessCentralService", "create_business_central_app", "create_business_central_control"]

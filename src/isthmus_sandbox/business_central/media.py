"""Stream properties: uploaded bytes, or a small stand-in of the right kind (BC-58)."""

from __future__ import annotations

import base64

from isthmus_sandbox.business_central.catalogue import Entity, Property
from isthmus_sandbox.business_central.errors import ODataError
from isthmus_sandbox.business_central.render import ReadContext
from isthmus_sandbox.business_central.tables import Row

_PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=")


def content_of(context: ReadContext, entity: Entity, row: Row, prop: Property) -> tuple[str, bytes]:
    """Content type and bytes of a stream. Raises `ODataError` 404 when nothing is stored and nothing can be made."""
    company_id = context.company.id if context.company is not None else ""
    stored = context.environment.media.get((company_id, entity.set_name, row.id, prop.name))
    if stored is not None:
        return stored
    if entity.set_name == "pdfDocument":
        context.environment.report_runs += 1
        return "application/pdf", pdf_of(f"Document {row.id}")
    if entity.set_name == "companyInformation":
        return "image/png", _PNG
    raise ODataError(404, "BadRequest_NotFound", "media_missing")


def pdf_of(title: str) -> bytes:
    """A one-page PDF with a title: enough for a viewer to open it."""
    text = f"BT /F1 18 Tf 72 720 Td ({title}) Tj ET".encode("latin-1", "replace")
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    body = b"%PDF-1.4\n"
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    count = len(objects) + 1
    return (
        body
        + b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (
            count,
            table,
            count,
            len(body),
        )
    )

"""Bodies: checked against the live description, encoded as the service wants them, or refused by name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from isthmus.kernel.failures import InvalidInput
from isthmus.odata.names import decode_name
from isthmus.providers.base import EnumMember, Field, Navigation, ObjectInfo
from isthmus.providers.business_central import BUSINESS_CENTRAL
from isthmus.providers.business_central.check import members_of, only_changes
from isthmus.providers.writing import CheckedBody, Problem, Verb

MEMBERS = ("_x0020_", "Draft", "In_x0020_Review", "G_x002F_L_x0020_Account", "Charge_x0020__x0028_Item_x0029_")
LINE = ObjectInfo(
    name="salesInvoiceLines",
    entity="salesInvoiceLine",
    route="v2.0",
    key=("id",),
    fields=(
        Field(name="id", type="Edm.Guid", read_only=True),
        Field(name="lineObjectNumber", type="Edm.String", max_length=20, read_only=False),
        Field(name="quantity", type="Edm.Decimal", read_only=False),
    ),
)
INVOICE = ObjectInfo(
    name="salesInvoices",
    entity="salesInvoice",
    route="v2.0",
    key=("id",),
    fields=(
        Field(name="id", type="Edm.Guid", read_only=True),
        Field(name="number", type="Edm.String", max_length=20, read_only=True),
        Field(name="externalDocumentNumber", type="Edm.String", max_length=35, read_only=False),
        Field(name="customerId", type="Edm.Guid", read_only=False),
        Field(name="customerNumber", type="Edm.String", max_length=20, read_only=False),
        Field(name="invoiceDate", type="Edm.Date", read_only=False),
        Field(name="sentAt", type="Edm.DateTimeOffset", read_only=False),
        Field(name="discountAmount", type="Edm.Decimal", read_only=False),
        Field(name="copies", type="Edm.Int32", read_only=False),
        Field(name="urgent", type="Edm.Boolean", read_only=False),
        Field(
            name="status",
            type="Microsoft.NAV.status",
            read_only=False,
            members=tuple(EnumMember(name=name, label=decode_name(name)) for name in MEMBERS),
        ),
        Field(name="picture", type="Edm.Stream", read_only=False),
    ),
    navigation=(
        Navigation(name="salesInvoiceLines", target="salesInvoiceLines", many=True),
        Navigation(name="customer", target="customers", many=False),
    ),
)
CUSTOMERS = ObjectInfo(
    name="customers",
    entity="customer",
    route="v2.0",
    key=("id",),
    fields=(
        Field(name="displayName", type="Edm.String", max_length=100, read_only=False),
        Field(name="country", type="Edm.String", max_length=10, read_only=False),
    ),
)
AVAILABLE = [INVOICE, LINE, CUSTOMERS]


def check(body: Any, obj: ObjectInfo = INVOICE, verb: Verb = Verb.CREATE) -> CheckedBody:
    """The verdict on a body."""
    text = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return BUSINESS_CENTRAL.check(obj, AVAILABLE, verb, text)


def problem(body: Any, obj: ObjectInfo = INVOICE, verb: Verb = Verb.CREATE) -> Problem:
    """The only problem of a body."""
    (found,) = check(body, obj, verb).problems
    return found


@pytest.mark.conformance("BC-69")
def test_the_callers_order_is_kept() -> None:
    body = b'{"invoiceDate":"2026-01-31","externalDocumentNumber":"A","customerNumber":"10000"}'
    assert check(body).body == body


@pytest.mark.conformance("BC-53")
@pytest.mark.parametrize("number", ["0.1", "12.50", "99999999999999999.9", "0.000000000000000001", "-1.10", "7"])
def test_decimals_stay_exact(number: str) -> None:
    assert check(b'{"discountAmount":%s}' % number.encode()).body == b'{"discountAmount":%s}' % number.encode()
    assert check({"discountAmount": number}).body == b'{"discountAmount":%s}' % number.encode()


@pytest.mark.conformance("BC-53")
def test_exponents_are_written_out_and_too_many_digits_refused() -> None:
    assert check(b'{"discountAmount":1.5e3}').body == b'{"discountAmount":1500}'
    assert problem(b'{"discountAmount":1234567890.1234567891}').code == "too_long"
    assert problem(b'{"discountAmount":1e300}').code == "too_long"
    assert problem({"discountAmount": "1,5"}).code == "wrong_type"
    assert problem({"discountAmount": True}).code == "wrong_type"


@pytest.mark.conformance("BC-52")
@pytest.mark.parametrize("name", MEMBERS)
def test_members_are_encoded_from_what_people_read(name: str) -> None:
    encoded = b'{"status":"%s"}' % name.encode()
    assert check({"status": name}).body == encoded
    assert check({"status": decode_name(name)}).body == encoded
    assert check({"status": decode_name(name).upper()}).body == encoded


@pytest.mark.conformance("BC-52")
def test_a_wrong_member_is_refused_with_those_there_are() -> None:
    found = problem({"status": "In Revue"})
    assert (found.code, found.nearest) == ("wrong_member", ("In Review",))
    assert problem({"status": 1}).code == "wrong_type"


@pytest.mark.conformance("BC-51", "BC-55")
def test_null_is_written_as_the_blank_of_its_type() -> None:
    body = dict.fromkeys(("externalDocumentNumber", "customerId", "invoiceDate", "sentAt", "status"))
    assert msgspec.json.decode(check(body).body) == {
        "externalDocumentNumber": "",
        "customerId": "00000000-0000-0000-0000-000000000000",
        "invoiceDate": "0001-01-01",
        "sentAt": "0001-01-01T00:00:00Z",
        "status": "_x0020_",
    }
    assert problem({"urgent": None}).code == "wrong_type"


@pytest.mark.conformance("BC-63")
def test_an_unknown_field_is_refused_with_the_nearest_name() -> None:
    found = problem({"externalDocumentNo": "1"})
    assert (found.code, found.nearest[0]) == ("unknown_field", "externalDocumentNumber")


@pytest.mark.conformance("BC-63", "BC-68")
def test_read_only_fields_and_the_id_are_refused() -> None:
    assert problem({"number": "1"}).code == "read_only"
    found = problem({"id": "6b4f0c5e-0000-4000-8000-000000000001"})
    assert (found.code, "service's to give" in found.message) == ("read_only", True)
    assert problem({"picture": "AAAA"}).code == "read_only"


@pytest.mark.conformance("BC-64")
def test_a_long_value_is_refused_with_field_and_limit() -> None:
    found = problem({"externalDocumentNumber": "x" * 36})
    assert (found.code, found.field) == ("too_long", "externalDocumentNumber")
    assert "35" in found.message
    assert not check({"externalDocumentNumber": "x" * 35}).problems


@pytest.mark.conformance("BC-65")
def test_lines_are_checked_each_and_named_by_their_place() -> None:
    good = {"salesInvoiceLines": [{"quantity": 1}, {"lineObjectNumber": "1000"}]}
    assert check(good).body == b'{"salesInvoiceLines":[{"quantity":1},{"lineObjectNumber":"1000"}]}'
    bad = {"salesInvoiceLines": [{"quantity": 1}, {"quantitty": 1}]}
    assert problem(bad).field == "salesInvoiceLines[1].quantitty"
    assert problem({"salesInvoiceLines": {"quantity": 1}}).code == "wrong_type"


@pytest.mark.conformance("BC-65")
def test_lines_are_never_changed_together_with_their_document() -> None:
    assert problem({"salesInvoiceLines": [{"quantity": 1}]}, verb=Verb.UPDATE).code == "deep_update"


@pytest.mark.conformance("BC-69")
def test_only_one_of_two_identifiers_is_sent() -> None:
    body = {"customerId": "6b4f0c5e-0000-4000-8000-000000000001", "customerNumber": "10000"}
    assert problem(body).code == "two_identifiers"


@pytest.mark.conformance("BC-72")
@pytest.mark.parametrize(("name", "value"), [("address", {"street": "x"}), ("countryRegionCode", "DK")])
def test_shapes_of_the_first_version_are_never_sent(name: str, value: Any) -> None:
    found = problem({"displayName": "A", name: value}, CUSTOMERS)
    assert (found.code, "v1.0" in found.message) == ("unknown_field", True)


def test_what_an_insert_needs_is_asked_for() -> None:
    assert problem({"country": "DK"}, CUSTOMERS).code == "missing"
    assert problem({"displayName": ""}, CUSTOMERS).code == "missing"
    assert not check({"country": "DK"}, CUSTOMERS, Verb.UPDATE).problems


@pytest.mark.parametrize(
    "body",
    [
        {"customerId": "10000"},
        {"invoiceDate": "31.01.2026"},
        {"sentAt": "yesterday"},
        {"copies": 1.5},
        {"urgent": "yes"},
        {"externalDocumentNumber": 5},
    ],
)
def test_values_of_another_type_are_refused(body: dict[str, Any]) -> None:
    assert problem(body).code == "wrong_type"


def test_whole_numbers_have_bounds() -> None:
    assert check(b'{"copies":3.0}').body == b'{"copies":3}'
    assert problem({"copies": 2**31}).code == "too_long"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b'{"a":1}x'])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        check(body)


@pytest.mark.conformance("BC-57", "BC-63")
def test_a_whole_record_sent_back_becomes_what_was_changed() -> None:
    current = (
        b'{"@odata.etag":"W/\\"1\\"","id":"6B4F0C5E-0000-4000-8000-000000000001","number":"107001",'
        b'"externalDocumentNumber":"ABC","customerId":"6b4f0c5e-0000-4000-8000-000000000002","customerNumber":"C1",'
        b'"discountAmount":10.50,"status":"In_x0020_Review","sentAt":"2026-01-01T00:00:00.5Z","urgent":false}'
    )
    same = (
        b'{"@odata.etag":"W/\\"1\\"","id":"6b4f0c5e-0000-4000-8000-000000000001","number":"107001",'
        b'"externalDocumentNumber":"abc","customerId":"6B4F0C5E-0000-4000-8000-000000000002","customerNumber":"C1",'
        b'"discountAmount":10.5,"status":"In Review","sentAt":"2026-01-01T00:00:00.500Z","urgent":false}'
    )
    assert only_changes(INVOICE, same, current) == b"{}"
    changed = same.replace(b'"urgent":false', b'"urgent":true').replace(b"10.5", b"10.51")
    assert only_changes(INVOICE, changed, current) == b'{"discountAmount":10.51,"urgent":true}'
    assert list(members_of(only_changes(INVOICE, b'{"number":"1"}', current))) == ["number"]


def test_a_record_below_another_need_not_name_it_in_its_body() -> None:
    line = ObjectInfo(
        name="journalLines",
        entity="journalLine",
        route="v2.0",
        key=("id",),
        fields=(
            Field(name="journalId", type="Edm.Guid", read_only=False),
            Field(name="amount", type="Edm.Decimal", read_only=False),
        ),
    )
    body = b'{"amount":12.50}'
    (alone,) = BUSINESS_CENTRAL.check(line, [line], Verb.CREATE, body).problems
    assert (alone.code, alone.field) == ("missing", "journalId")
    below = BUSINESS_CENTRAL.check(line, [line], Verb.CREATE, body, below=True)
    assert (below.problems, below.body) == ((), body)

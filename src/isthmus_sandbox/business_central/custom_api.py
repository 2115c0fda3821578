"""What a customer installed beside the standard API: one custom API and one published page.

The custom API has publisher `contoso`, group `app1`, version `v1.0` (BC-12); the published OData page is
`Customer_Card` with one row in which every value is empty (BC-13).
"""

from __future__ import annotations

from isthmus_sandbox.business_central.catalogue import Entity, EnumMember, EnumType, Navigation, Property, make_entity

CUSTOM_ROUTE = "contoso/app1/v1.0"
PUBLISHED_PAGE = "Customer_Card"
ODATA_ROUTE = "ODataV4"


def custom_enums() -> list[EnumType]:
    """The enumeration of the custom API; one member has characters that need escaping twice over."""
    names = (
        (" ", "_x0020_"),
        ("In Negotiation", "In_x0020_Negotiation"),
        ("Active (Auto-Renew)", "Active_x0020__x0028_Auto_x002D_Renew_x0029_"),
        ("Ended", "Ended"),
    )
    members = tuple(EnumMember(value, al, json) for value, (al, json) in enumerate(names))
    return [EnumType("contosoContractStatus", members)]


def custom_entities() -> list[Entity]:
    """The entities of the custom API and of the published page."""
    return [_rental_contracts(), _loyalty_customers(), _customer_card()]


def _text(name: str, length: int, *, code: bool = False, read_only: bool = False) -> Property:
    kind = "Code" if code else "Text"
    return Property(name, "Edm.String", al_type=f"{kind}[{length}]", max_length=length, read_only=read_only)


def _id() -> Property:
    return Property("id", "Edm.Guid", al_type="Guid", nullable=False, source='"SystemId"')


def _stamp(name: str = "lastModifiedDateTime") -> Property:
    return Property(name, "Edm.DateTimeOffset", al_type="DateTime", read_only=True, read_only_because="systemField")


def _rental_contracts() -> Entity:
    properties = (
        _id(),
        _text("number", 20, code=True),
        _text("customerNumber", 20, code=True),
        _text("customerName", 100, read_only=True),
        Property("customerId", "Edm.Guid", al_type="Guid"),
        _text("description", 250),
        Property("status", "Microsoft.NAV.contosoContractStatus", enum="contosoContractStatus"),
        Property("monthlyAmount", "Edm.Decimal", al_type="Decimal"),
        Property("startingDate", "Edm.Date", al_type="Date"),
        Property("endingDate", "Edm.Date", al_type="Date"),
        _text("contosoRegion", 10, code=True),
        Property("contosoScore", "Edm.Int32", al_type="Integer"),
        _stamp(),
    )
    return make_entity(
        route=CUSTOM_ROUTE,
        set_name="rentalContracts",
        name="rentalContract",
        key=("id",),
        properties=properties,
        navigations=(
            Navigation(
                "loyaltyCustomer",
                "loyaltyCustomer",
                "loyaltyCustomers",
                False,
                "association",
                via=(("customerId", "id"),),
            ),
        ),
        insert_allowed=True,
        modify_allowed=True,
        delete_allowed=True,
        stamp="lastModifiedDateTime",
        source_table="Contoso Rental Contract",
        webhook=True,
    )


def _loyalty_customers() -> Entity:
    properties = (
        _id(),
        _text("number", 20, code=True),
        _text("displayName", 100),
        _text("email", 80),
        _text("contosoLoyaltyLevel", 20, code=True),
        Property("contosoCreditScore", "Edm.Decimal", al_type="Decimal"),
        Property("contosoOptIn", "Edm.Boolean", al_type="Boolean"),
        _stamp("systemModifiedAt"),
    )
    return make_entity(
        route=CUSTOM_ROUTE,
        set_name="loyaltyCustomers",
        name="loyaltyCustomer",
        key=("id",),
        properties=properties,
        modify_allowed=True,
        stamp="systemModifiedAt",
        source_table="Customer",
        webhook=True,
    )


def _customer_card() -> Entity:
    properties = (
        _text("No", 20, code=True),
        _text("Name", 100),
        _text("Balance_LCY", 30),
        _text("Blocked", 20),
        _text("Contact", 100),
        _text("Last_Date_Modified", 10),
    )
    return make_entity(
        route=ODATA_ROUTE, set_name=PUBLISHED_PAGE, name=PUBLISHED_PAGE, key=("No",), properties=properties
    )

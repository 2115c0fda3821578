"""Reading `$metadata`."""

from __future__ import annotations

import pytest

from isthmus.kernel.failures import CorruptResponse, TooLarge
from isthmus.odata import metadata as csdl
from isthmus.odata.metadata import parse_metadata

DOCUMENT = b"""<?xml version="1.0" encoding="utf-8"?>
<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx" xmlns:x="urn:unknown">
 <edmx:Reference Uri="https://elsewhere/vocabulary.xml"><edmx:Include Namespace="Org.OData.Core.V1"/></edmx:Reference>
 <edmx:DataServices>
  <Schema Namespace="Microsoft.NAV" Alias="NAV" xmlns="http://docs.oasis-open.org/odata/ns/edm">
   <x:strange thing="1"><x:deeper/></x:strange>
   <EntityType Name="base" Abstract="true">
    <Key><PropertyRef Name="id"/></Key>
    <Property Name="id" Type="Edm.Guid" Nullable="false"/>
   </EntityType>
   <EntityType Name="salesInvoice" BaseType="NAV.base">
    <Property Name="number" Type="Edm.String" MaxLength="20" Unknown="yes">
     <Annotation Term="Org.OData.Core.V1.Computed" Bool="true"/>
     <Annotation Term="NAV.AllowEdit" Bool="false"/>
    </Property>
    <Property Name="note" MaxLength="max"/>
    <Property Name="status" Type="NAV.invoiceStatus"/>
    <NavigationProperty Name="salesInvoiceLines" Type="Collection(NAV.salesInvoiceLine)" ContainsTarget="true"/>
    <NavigationProperty Name="customer" Type="Microsoft.NAV.customer"/>
   </EntityType>
   <EntityType Name="securityGroupMember" HasStream="true">
    <Key><PropertyRef Name="securityGroupCode"/><PropertyRef Name="userSecurityId"/></Key>
    <Property Name="securityGroupCode" Type="Edm.String"/>
    <Property Name="userSecurityId" Type="Edm.Guid"/>
   </EntityType>
   <EntityType Name="customerSale"><Property Name="totalSalesAmount" Type="Edm.Decimal" Scale="Variable"/></EntityType>
   <EnumType Name="invoiceStatus">
    <Member Name="_x0020_" Value="0"/>
    <Member Name="In_x0020_Review" Value="2">
     <Annotation Term="Org.OData.Core.V1.Description" String="Being reviewed"/></Member>
    <Member Name="Later"/>
   </EnumType>
   <Action Name="post" IsBound="true"><Parameter Name="bindingParameter" Type="NAV.salesInvoice"/></Action>
   <Action Name="unbound"><Parameter Name="x" Type="Edm.String"/></Action>
   <Function Name="calc" IsBound="true"/>
   <EntityContainer Name="NAV">
    <EntitySet Name="salesInvoices" EntityType="Microsoft.NAV.salesInvoice">
     <Annotation Term="Org.OData.Capabilities.V1.InsertRestrictions"><Record>
      <PropertyValue Property="Insertable" Bool="false"/></Record></Annotation>
    </EntitySet>
    <EntitySet Name="customerSales" EntityType="Microsoft.NAV.customerSale"/>
    <Singleton Name="me" Type="Microsoft.NAV.base"/>
   </EntityContainer>
   <Annotations Target="NAV.NAV/customerSales">
    <Annotation Term="Org.OData.Capabilities.V1.DeleteRestrictions"><Record>
     <PropertyValue Property="Deletable"><Bool>false</Bool></PropertyValue></Record></Annotation>
   </Annotations>
   <Annotations Target="Microsoft.NAV.salesInvoice/note">
    <Annotation Term="Org.OData.Core.V1.Computed"/>
   </Annotations>
  </Schema>
 </edmx:DataServices>
</edmx:Edmx>"""


@pytest.fixture
def document() -> csdl.Metadata:
    return parse_metadata(DOCUMENT)


def test_a_type_has_key_and_properties_including_inherited_ones(document: csdl.Metadata) -> None:
    invoice = document.types["Microsoft.NAV.salesInvoice"]
    assert invoice.key == ("id",)
    assert [prop.name for prop in invoice.properties] == ["id", "number", "note", "status"]


def test_properties_tell_type_length_and_nullability(document: csdl.Metadata) -> None:
    identity, number, note, status = document.types["Microsoft.NAV.salesInvoice"].properties
    assert (identity.type, identity.nullable) == ("Edm.Guid", False)
    assert (number.type, number.max_length, number.nullable) == ("Edm.String", 20, True)
    assert (note.type, note.max_length) == ("Edm.String", None)
    assert status.type == "Microsoft.NAV.invoiceStatus"


def test_annotations_are_read_inside_and_outside_their_element(document: csdl.Metadata) -> None:
    _, number, note, _ = document.types["Microsoft.NAV.salesInvoice"].properties
    assert number.annotations == {"Core.Computed": "true", "NAV.AllowEdit": "false"}
    assert note.annotations == {"Core.Computed": "true"}


@pytest.mark.conformance("BC-50")
def test_navigation_tells_one_from_many(document: csdl.Metadata) -> None:
    lines, customer = document.types["Microsoft.NAV.salesInvoice"].navigation
    assert (lines.name, lines.type, lines.many) == ("salesInvoiceLines", "Microsoft.NAV.salesInvoiceLine", True)
    assert (customer.name, customer.type, customer.many) == ("customer", "Microsoft.NAV.customer", False)


def test_keys_may_have_several_parts_or_none(document: csdl.Metadata) -> None:
    assert document.types["Microsoft.NAV.securityGroupMember"].key == ("securityGroupCode", "userSecurityId")
    assert document.types["Microsoft.NAV.securityGroupMember"].has_stream
    assert document.types["Microsoft.NAV.customerSale"].key == ()


def test_enum_members_keep_wire_name_value_and_label(document: csdl.Metadata) -> None:
    members = document.enums["Microsoft.NAV.invoiceStatus"].members
    assert [(each.name, each.value, each.label) for each in members] == [
        ("_x0020_", 0, None),
        ("In_x0020_Review", 2, "Being reviewed"),
        ("Later", None, None),
    ]


def test_sets_know_their_type_and_what_is_allowed_where_told(document: csdl.Metadata) -> None:
    invoices, sales = document.sets["salesInvoices"], document.sets["customerSales"]
    assert (invoices.type, invoices.insertable, invoices.deletable) == ("Microsoft.NAV.salesInvoice", False, None)
    assert (sales.insertable, sales.deletable) == (None, False)
    assert document.sets["me"].singleton


def test_only_bound_actions_are_listed(document: csdl.Metadata) -> None:
    assert [(each.name, each.binding) for each in document.actions] == [("post", "Microsoft.NAV.salesInvoice")]


def test_a_loop_of_base_types_ends() -> None:
    looped = DOCUMENT.replace(b'Name="base" Abstract="true"', b'Name="base" BaseType="NAV.salesInvoice"')
    assert parse_metadata(looped).types["Microsoft.NAV.salesInvoice"].key == ("id",)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        DOCUMENT[:-300],
        b"<a/>",
        b'<!DOCTYPE a [<!ENTITY x "y">]><edmx>&x;</edmx>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'{"error":{}}',
    ],
)
def test_broken_and_hostile_documents_are_corrupt(body: bytes) -> None:
    with pytest.raises(CorruptResponse):
        parse_metadata(body)


def test_a_document_beyond_the_limit_is_not_parsed() -> None:
    with pytest.raises(TooLarge):
        parse_metadata(DOCUMENT, bytes_max=len(DOCUMENT) - 1)

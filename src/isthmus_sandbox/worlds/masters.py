"""Master data of a CRONUS company: codes, chart of accounts, items, parties, people."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from isthmus_sandbox.worlds.books import Books, demo_facts

ACCOUNTS = (
    ("10000", "BALANCE SHEET", "_x0020_", "Heading", ""),
    ("10100", "Bank Account - Operating", "Assets", "Posting", "Current Assets"),
    ("10400", "Accounts Receivable", "Assets", "Posting", "Current Assets"),
    ("10700", "Inventory", "Assets", "Posting", "Current Assets"),
    ("11100", "Office Equipment", "Assets", "Posting", "Fixed Assets"),
    ("12950", "Assets, Total", "Assets", "Total", ""),
    ("20100", "Accounts Payable", "Liabilities", "Posting", "Current Liabilities"),
    ("22300", "Sales Tax Payable", "Liabilities", "Posting", "Current Liabilities"),
    ("22400", "Purchase Tax", "Liabilities", "Posting", "Current Liabilities"),
    ("30100", "Capital Stock", "Equity", "Posting", "Common Stock"),
    ("30200", "Retained Earnings", "Equity", "Posting", "Retained Earnings"),
    ("40001", "INCOME", "Income", "Begin_x002D_Total", ""),
    ("40100", "Sales, Retail", "Income", "Posting", "Income, Product Sales"),
    ("40200", "Sales, Services", "Income", "Posting", "Income, Services"),
    ("49990", "Total Income", "Income", "End_x002D_Total", ""),
    ("50100", "Cost of Goods Sold", "Cost_x0020_of_x0020_Goods_x0020_Sold", "Posting", "Materials"),
    ("60100", "Rent", "Expense", "Posting", "Rent Expense"),
    ("60200", "Advertising", "Expense", "Posting", "Advertising Expense"),
    ("61300", "Salaries", "Expense", "Posting", "Payroll Expense"),
    ("62100", "Travel & Entertainment", "Expense", "Posting", "Travel Expense"),
)

_COUNTRIES = (
    ("CA", "Canada", "City_x002B_County_x002B_Post_x0020_Code"),
    ("DE", "Germany", "Post_x0020_Code_x002B_City"),
    ("DK", "Denmark", "Post_x0020_Code_x002B_City"),
    ("FR", "France", "Post_x0020_Code_x002B_City"),
    ("GB", "Great Britain", "Blank_x0020_Line_x002B_Post_x0020_Code_x002B_City"),
    ("US", "USA", "City_x002B_County_x002B_Post_x0020_Code"),
)
_CURRENCIES = (
    ("CAD", "Canadian dollar", "$", "0.74"),
    ("DKK", "Danish krone", "kr", "0.155"),
    ("EUR", "Euro", "€", "1.11"),
    ("GBP", "Pound Sterling", "£", "1.5565"),
    ("JPY", "Japanese Yen", "¥", "0.0072"),
    ("USD", "US dollar", "$", "1.0"),
)
_CODED = {
    "paymentMethods": (
        ("ACCOUNT", "Payment on account"),
        ("BANK", "Bank Transfer"),
        ("CARD", "Card payment"),
        ("CASH", "Cash payment"),
        ("CHECK", "Check payment"),
    ),
    "shipmentMethods": (
        ("CIF", "Cost Insurance and Freight"),
        ("DELIVERY", "Delivery"),
        ("EXW", "Ex Warehouse"),
        ("FOB", "Free on Board"),
        ("PICKUP", "Pickup at Location"),
    ),
    "itemCategories": (
        ("CHAIR", "Office Chair"),
        ("DESK", "Office Desk"),
        ("MISC", "Miscellaneous"),
        ("TABLE", "Tables"),
    ),
    "disputeStatus": (("QUALITY", "Quality of the goods"), ("PRICE", "Price differs")),
    "fixedAssetLocations": (("ADM", "Administration"), ("PROD", "Production")),
}
_UNITS = (
    ("BOX", "Box", "BX"),
    ("DAY", "Day", "DAY"),
    ("HOUR", "Hour", "HUR"),
    ("KG", "Kilo", "KGM"),
    ("PALLET", "Pallet", "PF"),
    ("PCS", "Piece", "EA"),
    ("SET", "Set", "SET"),
)


def write_codes(books: Books) -> None:
    """The small tables that everything else points to."""
    facts = demo_facts()
    for term in facts["paymentTerms"]:
        discount = term["code"] == "1M(8D)"
        books.add(
            "paymentTerms",
            code=term["code"],
            displayName="Current Month" if term["code"] == "CM" else f"Net {term['code'].lower()}",
            dueDateCalculation=term["dueDateCalculation"],
            discountDateCalculation="8D" if discount else "",
            discountPercent=Decimal(2 if discount else 0),
        )
    for set_name, pairs in _CODED.items():
        for code, name in pairs:
            books.add(set_name, code=code, displayName=name)
    for code, name, standard in _UNITS:
        books.add("unitsOfMeasure", code=code, displayName=name, internationalStandardCode=standard)
    for code, name, address_format in _COUNTRIES:
        books.add("countriesRegions", code=code, displayName=name, addressFormat=address_format)
    for code, name, symbol, rate in _CURRENCIES:
        if code == books.company.currency_code:
            continue
        books.add(
            "currencies",
            code=code,
            displayName=name,
            symbol=symbol,
            amountDecimalPlaces="2:2",
            amountRoundingPrecision=Decimal("0.01"),
        )
        books.add(
            "currencyExchangeRates",
            currencyCode=code,
            startingDate="2025-01-01",
            exchangeRateAmount=Decimal(100),
            relationalExchangeRateAmount=Decimal(rate) * 100,
        )
    _write_tax(books)
    _write_dimensions(books, facts)
    for place in facts["locations"]:
        books.add("locations", code=place["code"], displayName=place["displayName"], country=_home(books))
    for code, name in (("JO", "Jim Olive"), ("PS", "Peter Saddow"), ("LM", "Linda Mitchell")):
        mail = f"{name.split()[0].lower()}@contoso.com"
        books.add("salespeoplePurchasers", code=code, displayName=name, email=mail, commisionPercent=Decimal(5))
    for code, text in (("RESALE", "Resale items"), ("RAW MAT", "Raw material")):
        books.add("inventoryPostingGroups", code=code, description=text)
    for code, text in (("RETAIL", "Retail"), ("SERVICES", "Resources, etc.")):
        books.add("generalProductPostingGroups", code=code, description=text)
    for code, text in (("DEFECTIVE", "Item is defective"), ("WRONG", "Wrong item delivered")):
        books.add("customerReturnReasons", code=code, description=text)


def _write_tax(books: Books) -> None:
    kind = "Sales_x0020_Tax" if books.is_us else "VAT"
    groups = ("FURNITURE", "LABOR", "MATERIALS", "NONTAXABLE") if books.is_us else ("VAT10", "VAT25", "ZERO")
    areas = ("ATLANTA, GA", "CHICAGO, IL", "MIAMI, FL") if books.is_us else ("DOMESTIC", "EU", "EXPORT")
    for code in groups:
        books.add("taxGroups", code=code, displayName=code.capitalize(), taxType=kind)
    for code in areas:
        books.add("taxAreas", code=code, displayName=code, taxType=kind)


def _write_dimensions(books: Books, facts: dict[str, Any]) -> None:
    names: dict[str, list[str]] = {"AREA": ["Europe", "America"], **facts["dimensionValueNames"]}
    for code in facts["dimensions"]:
        books.add("dimensions", code=code, displayName=code.capitalize())
        for name in names.get(code, ()):
            books.add(
                "dimensionValues",
                code=name.replace(" Business", "").upper(),
                dimensionId=books.id_of("dimensions", code),
                displayName=name,
            )


def write_accounts(books: Books) -> None:
    """Chart of accounts, bank accounts, ledger set-up, accounting periods, the company itself."""
    for number, name, category, kind, sub_category in ACCOUNTS:
        books.add(
            "accounts",
            number=number,
            displayName=name,
            category=category,
            subCategory=sub_category,
            accountType=kind,
            directPosting=kind == "Posting",
        )
    for number, name in (("CHECKING", "World Wide Bank"), ("SAVINGS", "First Savings Bank")):
        books.add(
            "bankAccounts",
            number=number,
            displayName=name,
            bankAccountNumber="99-99-888",
            currencyCode=books.company.currency_code,
        )
    books.add(
        "generalLedgerSetup",
        localCurrencyCode=books.company.currency_code,
        localCurrencySymbol="$" if books.is_us else "£",
        shortcutDimension1Code="DEPARTMENT",
        shortcutDimension2Code="CUSTOMERGROUP",
    )
    for month in range(1, 13):
        books.add(
            "accountingPeriods",
            startingDate=f"2025-{month:02d}-01",
            name=f"2025-{month:02d}",
            newFiscalYear=month == 1,
        )
    books.add(
        "companyInformation",
        displayName=books.company.name,
        addressLine1="7122 South Ashford Street" if books.is_us else "5 The Ring",
        city="Atlanta" if books.is_us else "London",
        state="GA" if books.is_us else "",
        country=_home(books),
        postalCode="31772" if books.is_us else "W2 8HG",
        currencyCode=books.company.currency_code,
        currentFiscalYearStartDate="2025-01-01",
        experience="Essential",
    )
    for number, name in (
        ("DEERFIELD, 8 WP", "Setting up Eight Work Areas"),
        ("GUILDFORD, 10 CR", "Ten Conference Rooms"),
    ):
        books.add("projects", number=number, displayName=name)


def write_items(books: Books) -> None:
    """Twenty items; bundles cost nothing by themselves."""
    for fact in demo_facts()["itemsW1"]:
        name = fact["displayName"]
        category = "CHAIR" if "Chair" in name else "DESK" if "Desk" in name else "TABLE" if "Table" in name else "MISC"
        factor = Decimal("1.5411") if books.is_us else Decimal(1)
        price = (Decimal(str(fact["unitPrice"])) * factor).quantize(Decimal("0.1"))
        cost = (Decimal(str(fact["unitCost"])) * factor).quantize(Decimal("0.1"))
        tax = "FURNITURE" if books.is_us else "VAT25"
        books.add(
            "items",
            number=fact["number"],
            displayName=name,
            type="Inventory",
            itemCategoryId=books.id_of("itemCategories", category),
            itemCategoryCode=category,
            inventory=Decimal(4 if fact["number"].endswith("-S") else 0),
            unitPrice=price,
            unitCost=cost,
            taxGroupId=books.id_of("taxGroups", tax),
            taxGroupCode=tax,
            baseUnitOfMeasureId=books.id_of("unitsOfMeasure", "PCS"),
            baseUnitOfMeasureCode="PCS",
            generalProductPostingGroupId=books.id_of("generalProductPostingGroups", "RETAIL"),
            generalProductPostingGroupCode="RETAIL",
            inventoryPostingGroupId=books.id_of("inventoryPostingGroups", "RESALE"),
            inventoryPostingGroupCode="RESALE",
        )
    books.add("items", number="SERVICE-1", displayName="Assembly at your place", type="Service", unitPrice=Decimal(85))
    books.add("items", number="NI-1", displayName="Freight label", type="Non_x002D_Inventory", unitPrice=Decimal("1.2"))
    for code, text in (("BLACK", "Black leather"), ("OAK", "Oak finish")):
        books.add(
            "itemVariants",
            itemId=books.id_of("items", "1896-S"),
            itemNumber="1896-S",
            code=code,
            description=text,
        )


def _home(books: Books) -> str:
    return "US" if books.is_us else "GB"

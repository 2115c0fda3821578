"""Error texts by language: clients must decide on the code, for the text follows `Accept-Language` (BC-45, BC-87)."""

from __future__ import annotations

from collections.abc import Sequence

DEFAULT_LANGUAGE = "en-US"

_EN = {
    "unknown_property": "Could not find a property named '{0}' on type 'Microsoft.NAV.{1}'.",
    "unknown_segment": "Resource not found for the segment '{0}'.",
    "unknown_record": "The requested {0} record could not be found.",
    "invalid_url": "The request URL is not valid: {0}.",
    "syntax_error": "Syntax error at position {0} in '{1}'.",
    "or_distinct_fields": "'OR' operator is not supported on distinct fields.",
    "needs_schema_2_1": "The expression '{0}' is supported from schema version 2.1 only.",
    "unsupported_function": "The function '{0}' is not supported in filter expressions.",
    "incompatible_types": "A binary operator with incompatible types was detected. Found operand types '{0}' and '{1}' "
    "for operator kind '{2}'.",
    "any_on_single": "Any/All may only be used following a collection.",
    "filter_characters": 'The filter "{0}" is not valid for the {1} field of the {2} page.',
    "filter_too_long": "The length of the filter value is {0}, but it must be less than or equal to {1} characters. "
    "Field: {2}.",
    "unknown_member": "The value '{0}' is not a member of the enumeration '{1}'.",
    "parent_required": "You must specify a parent id in the request to read '{0}', for example through its parent "
    "or with a filter.",
    "top_invalid": "The value '{0}' of the query option '{1}' is not a non-negative whole number.",
    "next_link_broken": "The skip token of the request is missing or damaged.",
    "page_too_large": "The requested page size {0} exceeds the maximum of {1}.",
    "url_too_long": "The request URL is too long.",
    "internal": "An internal error occurred. Please try again.",
    "invalid_credentials": "The server has rejected the client credentials.",
    "unauthorized": "The credentials provided are incorrect.",
    "permission_denied": "Sorry, the current permissions prevented the action. (TableData {0} Read: {1})",
    "automation_denied": "The client does not have the permission 'Automation.ReadWrite.All'.",
    "company_not_found": "The company '{0}' does not exist.",
    "company_missing": "You must choose a company to read '{0}'.",
    "method_not_allowed": "The method '{0}' is not allowed on '{1}'.",
    "method_not_implemented": "The option '{0}' is not implemented for API queries.",
    "read_only_intent": "The request changes data, but the data access intent is read-only.",
    "definition_filter": "The filter '{0}' is not supported on entityDefinitions.",
    "timeout": "The operation took longer than allowed and was cancelled.",
    "stale_etag": "Another user has already changed the record.",
    "etag_invalid": "The If-Match header is not a valid ETag.",
    "media_missing": "The record has no content.",
}

_DE = {
    "unknown_property": "Eine Eigenschaft mit dem Namen '{0}' wurde für den Typ 'Microsoft.NAV.{1}' nicht gefunden.",
    "unknown_segment": "Für das Segment '{0}' wurde keine Ressource gefunden.",
    "unknown_record": "Der angeforderte Datensatz {0} wurde nicht gefunden.",
    "or_distinct_fields": "Der Operator 'OR' wird für verschiedene Felder nicht unterstützt.",
    "parent_required": "Zum Lesen von '{0}' muss eine übergeordnete ID angegeben werden.",
    "filter_characters": 'Der Filter "{0}" ist für das Feld {1} der Seite {2} ungültig.',
    "invalid_credentials": "Der Server hat die Anmeldeinformationen des Clients abgelehnt.",
    "permission_denied": "Die aktuellen Berechtigungen haben die Aktion verhindert. (TableData {0} Lesen: {1})",
    "company_not_found": "Das Unternehmen '{0}' existiert nicht.",
}

_DA = {
    "unknown_property": "Der blev ikke fundet en egenskab med navnet '{0}' på typen 'Microsoft.NAV.{1}'.",
    "unknown_segment": "Ressourcen til segmentet '{0}' blev ikke fundet.",
    "unknown_record": "Den ønskede post {0} blev ikke fundet.",
    "or_distinct_fields": "Operatoren 'OR' understøttes ikke på forskellige felter.",
    "parent_required": "Du skal angive et overordnet id for at læse '{0}'.",
    "invalid_credentials": "Serveren har afvist klientens legitimationsoplysninger.",
    "permission_denied": "De aktuelle tilladelser forhindrede handlingen. (TableData {0} Læs: {1})",
    "company_not_found": "Virksomheden '{0}' findes ikke.",
}

_BY_LANGUAGE = {"de": _DE, "da": _DA}


def language_of(accept_language: str | None) -> str:
    """The first language of an `Accept-Language` header, `en-US` when there is none."""
    first = (accept_language or "").split(",")[0].split(";")[0].strip()
    return first if first and first != "*" else DEFAULT_LANGUAGE


def text_of(message: str, language: str, arguments: Sequence[object]) -> str:
    """The text of a message in a language, English where no translation is kept. Unknown names are texts themselves."""
    translations = _BY_LANGUAGE.get(language.partition("-")[0].lower(), {})
    template = translations.get(message) or _EN.get(message)
    return message if template is None else template.format(*arguments)

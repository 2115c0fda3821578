"""Query options as the server understands them: `$filter` text → predicate, `$select`, `$expand`, `$orderby`, `$top`.

In: decoded option texts and the entity they speak about. Out: plain values and closures over rows. Nothing here knows a
table or a response; refusals are `ODataError`s.
"""

from isthmus_sandbox.business_central.query.filter_parser import parse_filter
from isthmus_sandbox.business_central.query.options import Expand, ReadOptions, parse_read_options
from isthmus_sandbox.business_central.query.predicate import FilterRules, compile_filter

__all__ = ["Expand", "FilterRules", "ReadOptions", "compile_filter", "parse_filter", "parse_read_options"]

"""The checks before a first read, as requests and the reading of each: `isthmus check` shows them with their remedies.

Pure: whoever runs it sends each request and hands the response back. Checks run in order; one that `stops` ends the
list, because those after it would only repeat its failure.
"""

from __future__ import annotations

from collections.abc import Sequence

from isthmus.kernel.failures import CompanyNotFound, EnvironmentNotFound, Failure
from isthmus.kernel.messages import Request, Response
from isthmus.providers.base import Check, Finding, ObjectInfo, ReadSpec, Slice, Target
from isthmus.providers.business_central import discovery, read
from isthmus.providers.business_central.addressing import AUTOMATION_ROUTE, find_environment, set_url
from isthmus.providers.business_central.errors import failure_of
from isthmus.providers.business_central.headers import read_headers


def checks(target: Target, company_ids: Sequence[str] = (), company_id: str | None = None) -> list[Check]:
    """The list for one connection. `company_ids` are the chosen companies, `company_id` one to try a read in."""
    found = [
        Check(
            name="environment",
            title="The environment is listed in the tenant",
            request=discovery.environments_request(target),
            judge=lambda response: _judge_environment(target, response),
            optional=True,
        ),
        Check(
            name="companies",
            title="Business Central accepts the sign-in and lists its companies",
            request=discovery.companies_request(target),
            judge=lambda response: _judge_companies(company_ids, response),
            stops=True,
        ),
        Check(
            name="metadata",
            title="The objects can be described",
            request=discovery.object_requests(target, "v2.0")[0],
            judge=_judge_metadata,
        ),
    ]
    if company_id is not None:
        found.append(_read_check(target, company_id))
        found.append(_automation_check(target, company_id))
    return found


def find(check: Check, response: Response) -> Finding:
    """Read the response of one check. A refusal becomes the failure that a person would meet later."""
    if not response.ok:
        failure = failure_of(check.request, response)
        return Finding(passed=False, detail=failure.message, failure=failure)
    try:
        return Finding(passed=True, detail=check.judge(response))
    except Failure as failure:
        return Finding(passed=False, detail=failure.message, failure=failure)


def _judge_environment(target: Target, response: Response) -> str:
    available = discovery.environments(response)
    found = find_environment(available, target.environment)
    if found is None:
        names = ", ".join(f"“{each.name}”" for each in available) or "none"
        raise EnvironmentNotFound(
            f"There is no environment “{target.environment}”; this sign-in sees {names}.",
            nearest=[each.name for each in available],
            subject=target.environment,
        )
    return f"“{found.name}” is a {found.kind or 'known'} environment, country {found.country or 'unknown'}."


def _judge_companies(company_ids: Sequence[str], response: Response) -> str:
    available = discovery.companies(response)
    known = {each.id.casefold() for each in available}
    missing = [each for each in company_ids if each.casefold() not in known]
    if missing:
        raise CompanyNotFound(
            f"A chosen company does not exist any more: {missing[0]}.",
            nearest=[each.name for each in available],
            subject=missing[0],
        )
    return f"{len(available)} companies: {', '.join(each.name for each in available[:5])}"


def _judge_metadata(response: Response) -> str:
    return f"{len(discovery.objects('v2.0', [response]))} objects"


def _read_check(target: Target, company_id: str) -> Check:
    probe = ObjectInfo(name="companyInformation", entity="companyInformation", route="v2.0", key=("id",), fields=())
    return Check(
        name="read",
        title="Records can be read",
        request=read.first_page(target, probe, ReadSpec(limit=1), Slice(company_id=company_id), 1),
        judge=lambda response: f"{len(read.page(probe, response))} record read",
    )


def _automation_check(target: Target, company_id: str) -> Check:
    """The user directory needs a permission of its own; everything else goes on without it (BC-20)."""
    url = f"{set_url(target, AUTOMATION_ROUTE, 'users', company_id)}?$top=1"
    return Check(
        name="automation",
        title="The Automation API answers (users; optional)",
        request=Request(method="GET", url=url, headers=read_headers(page_records=1), purpose="preflight"),
        judge=lambda _response: "The user directory can be read.",
        optional=True,
    )

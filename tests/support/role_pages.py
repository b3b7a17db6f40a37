"""Roles as the tests of their pages look at them."""

from bastide.domain.roles import Role
from bastide.portal import role_forms
from bastide.services.ports import AuditQuery
from bastide.services.roles import RoleDraft
from tests.support.api import ApiWorld
from tests.support.portal import Browser, Form

ROLES = "/admin/roles"


def role(api: ApiWorld, name: str = "Approved") -> Role:
    return next(one for one in api.services.roles.all(api.dave) if one.name == name)


def names(api: ApiWorld) -> list[str]:
    return [one.name for one in api.services.roles.all(api.dave)]


def edit_form(api: ApiWorld, browser: Browser, name: str = "Approved") -> Form:
    address = f"{ROLES}/{role(api, name).id}/edit"
    return browser.open(address).form(address)


def last_data(api: ApiWorld, kind: str) -> str:
    with api.store.read() as uow:
        return [record.data for record in uow.audit.read(AuditQuery(kind=kind, limit=0))][-1]


def draft(one: Role, api: ApiWorld) -> RoleDraft:
    known = {group.id: group.name for group in api.services.accounts.groups(api.dave)}
    return role_forms.draft_of(role_forms.fields_of(one, known), api.clock.now())

"""Management agents: connected systems, their rules, their secrets, their imports."""

from litestar import Response, delete, get, post, put
from litestar.params import FromPath, JSONBody

from bastide.api.native import sync_inputs as inputs
from bastide.api.native import sync_render as render
from bastide.api.native import sync_views as views
from bastide.api.native.given import DryRun
from bastide.domain.people import Right
from bastide.http.door import needs
from bastide.http.handed import Caller, UseCases
from bastide.services.passwords.imports import Mode

TAGS = ["management agents"]
_READ = needs(Right.ADMINISTER, also=Right.AUDIT)
_CHANGE = needs(Right.ADMINISTER)
_ONE = "/management-agents/{name:str}"


@get("/management-agents", opt=_READ, sync_to_thread=True, tags=TAGS, summary="All management agents")
def list_agents(actor: Caller, services: UseCases) -> views.Agents:
    """With all their rules, and how many objects they have."""
    return views.Agents(items=[render.agent(one) for one in services.management_agents.all(actor)])


@get(_ONE, opt=_READ, sync_to_thread=True, tags=TAGS, summary="One management agent")
def show_agent(name: FromPath[str], actor: Caller, services: UseCases) -> views.AgentView:
    """By name or id."""
    return render.agent(services.management_agents.show(actor, name))


@post("/management-agents", opt=_CHANGE, sync_to_thread=True, tags=TAGS, summary="Make a management agent")
def add_agent(
    data: JSONBody[inputs.AgentIn], actor: Caller, services: UseCases, dry_run: DryRun = False
) -> Response[views.AgentView]:
    """Its kind of system checks its settings. Refused if passwords could go round. Its secret is set apart."""
    shown = services.management_agents.add(actor, data.draft(), dry_run=dry_run)
    view = render.agent(shown, dry_run=dry_run)
    if dry_run:
        return Response(view, status_code=200)
    location = f"/api/v1/management-agents/{shown.agent.id}"
    return Response(view, status_code=201, headers={"Location": location})


@put(_ONE, opt=_CHANGE, sync_to_thread=True, tags=TAGS, summary="Change a management agent")
def edit_agent(
    name: FromPath[str],
    data: JSONBody[inputs.AgentIn],
    actor: Caller,
    services: UseCases,
    dry_run: DryRun = False,
) -> views.AgentView:
    """Replaces all; what is left out gets its default. Other rules: the next import reads everything. Other settings: the secret is forgotten, and a target
    is disabled until its new system has said what it is.
    """
    done = services.management_agents.edit(actor, name, data.draft(), dry_run=dry_run)
    return render.agent(
        done.after,
        dry_run=dry_run,
        changes=done.differences,
        secret_forgotten=done.secret_forgotten,
        target_disabled=done.disabled,
    )


@delete(
    _ONE, opt=_CHANGE, sync_to_thread=True, status_code=200, tags=TAGS, summary="Remove a management agent"
)
def remove_agent(
    name: FromPath[str], actor: Caller, services: UseCases, dry_run: DryRun = False
) -> views.AgentView:
    """With its objects, and people who have no other connector. Refused while it is a target of another."""
    return render.agent(services.management_agents.remove(actor, name, dry_run=dry_run), dry_run=dry_run)


@put(f"{_ONE}/secret", opt=_CHANGE, sync_to_thread=True, tags=TAGS, summary="Set an agent's secret")
def set_secret(
    name: FromPath[str], data: JSONBody[inputs.SecretIn], actor: Caller, services: UseCases
) -> views.AgentView:
    """Sealed at once, never shown again."""
    return render.agent(services.management_agents.set_secret(actor, name, data.secret))


@put(f"{_ONE}/passwords", opt=_CHANGE, sync_to_thread=True, tags=TAGS, summary="Enable or disable passwords")
def switch_agent(
    name: FromPath[str], data: JSONBody[inputs.SwitchIn], actor: Caller, services: UseCases
) -> views.AgentView:
    """As a target, as a source, or both."""
    return render.agent(
        services.management_agents.switch(actor, name, target=data.target, source=data.source)
    )


@post(f"{_ONE}/imports", opt=_CHANGE, sync_to_thread=True, status_code=200, tags=TAGS, summary="Import")
def import_agent(
    name: FromPath[str],
    data: JSONBody[inputs.ImportIn],
    actor: Caller,
    services: UseCases,
    dry_run: DryRun = False,
) -> views.ImportView:
    """Read the connected system, and answer when it is done; with `background` at once. A dry run says what would change."""
    if data.background and not dry_run:
        return render.asked(services.imports.ask(actor, name, full=data.mode is Mode.FULL))
    done = services.imports.run_now(actor, name, mode=data.mode, force=data.force, dry_run=dry_run)
    return render.outcome(done)


HANDLERS = [
    list_agents, show_agent, add_agent, edit_agent, remove_agent, set_secret, switch_agent, import_agent,
]  # fmt: skip

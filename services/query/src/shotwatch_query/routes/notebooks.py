"""Notebooks with a shot or an event loaded, to download or to open in Jupyter."""

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shotwatch_query.answers import Responses
from shotwatch_query.domain.notebooks import event_notebook, shot_notebook
from shotwatch_query.errors import BadRequest
from shotwatch_query.headers import attachment
from shotwatch_query.members import find_shot
from shotwatch_query.parameters import ShotId
from shotwatch_query.routes.feedback import EventId, find_event
from shotwatch_query.sources import From

router = APIRouter(tags=["exports"])
IPYNB = "application/x-ipynb+json"
NOTEBOOK_RESPONSES: Responses = {
    200: {"description": "The notebook.", "content": {IPYNB: {"schema": {"type": "object"}}}}
}
_HOST = re.compile(r"[\w.\-\[\]:]{1,255}", re.ASCII)


def _address(request: Request) -> str:
    """Return the address at which the caller reached the API.

    Raises:
        BadRequest: the header `Host` has no such address.
    """
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        raise BadRequest("Host: it has no host and port")
    return f"{request.scope['scheme']}://{host}"


Address = Annotated[str, Depends(_address)]


@router.get(
    "/shots/{shot}/notebook",
    summary="A notebook with a shot loaded",
    response_class=Response,
    responses=NOTEBOOK_RESPONSES,
)
async def get_shot_notebook(sources: From, address: Address, shot: ShotId) -> Response:
    """Return a Jupyter notebook that loads the shot with `shotwatch-client`. It contains no key."""
    found = await find_shot(sources, shot)
    return _notebook(shot_notebook(address, found.id), found.id)


@router.get(
    "/events/{event_id}/notebook",
    summary="A notebook with the shot of an event loaded",
    response_class=Response,
    responses=NOTEBOOK_RESPONSES,
)
async def get_event_notebook(sources: From, address: Address, event_id: EventId) -> Response:
    """Return a Jupyter notebook that loads the event's shot with `shotwatch-client`. It contains no key."""
    about = (await find_event(sources, event_id)).data
    return _notebook(event_notebook(address, about.shot, about.kind, about.devices), about.shot)


def _notebook(data: bytes, name: str) -> Response:
    return Response(data, media_type=IPYNB, headers=attachment(f"{name}.ipynb"))

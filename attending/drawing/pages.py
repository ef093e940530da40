"""Pages as one HTML file each: no script, no network, light and dark, the same type and colours everywhere.

A room keeps its templates in a folder `templates` beside its code; what all pages share lies in this room's `page.css`. All
words go through Jinja with escaping on; only pictures of our own drawing are markup.
"""

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

ROOM = "attending.drawing"
SHARED = "page.css"


def environment(room: str) -> Environment:
    """For the templates of a package such as `attending.report`: escaping on, and a name that is not given is an error."""
    return Environment(
        loader=PackageLoader(room, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def style(*sheets: tuple[str, str]) -> Markup:
    """What all pages share, then each (package, file) of style in turn."""
    return Markup("".join(_source(room, name) for room, name in ((ROOM, SHARED), *sheets)))


def _source(room: str, name: str) -> str:
    templates = environment(room)
    assert templates.loader is not None
    return templates.loader.get_source(templates, name)[0]

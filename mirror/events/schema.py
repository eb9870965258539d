"""What is known of the events: BinderHub's launch schema, version by version.

Source: https://github.com/jupyterhub/binderhub/tree/main/binderhub/event-schemas and the archive's
own files. A provider may be new without a new version; no field is `required` by the schema, but
each version's files have all of its fields.
"""

LAUNCH_SCHEMA = "binderhub.jupyter.org/launch"

_V1 = ("timestamp", "schema", "version", "provider", "spec", "status")
_V3 = (*_V1, "origin")
_V4 = (*_V3, "ref")
_V5 = (*_V4, "build_token")
_V6 = (*_V5, "request_origin")

FIELDS: dict[int, tuple[str, ...]] = {1: _V1, 2: _V1, 3: _V3, 4: _V4, 5: _V5, 6: _V6}
"""The fields that an event of each known version has."""

FIELD_TYPES: dict[str, type] = {
    "timestamp": str,
    "schema": str,
    "version": int,
    "provider": str,
    "spec": str,
    "status": str,
    "origin": str,
    "ref": str,
    "build_token": bool,
    "request_origin": str,
}

PROVIDERS = (
    "GitHub",
    "GitLab",
    "Git",
    "Gist",
    "Zenodo",
    "Figshare",
    "Dataverse",
    "Hydroshare",
    "CKAN",
)

STATUSES = ("success", "failure")
"""The statuses of the schema; the archive records successes only, so far."""

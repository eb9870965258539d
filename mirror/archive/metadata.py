"""Makes `datapackage.json` and `croissant.json`, the metadata for catalogues. Pure.

Both stand beside the daily files and name each with its size and SHA-256, licence and citation.
They are made from the records alone, so that they change only with what is held.

Formats: https://datapackage.org/ (Frictionless Data Package) and
https://docs.mlcommons.org/croissant/docs/croissant-spec.html (Croissant 1.0).
"""

from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any

import msgspec

from mirror.events.launch import COLUMNS, FIELDS, ColumnType
from mirror.model import Record

_TYPES = {
    ColumnType.TIMESTAMP: ("datetime", "sc:DateTime"),
    ColumnType.STRING: ("string", "sc:Text"),
    ColumnType.INTEGER: ("integer", "sc:Integer"),
    ColumnType.BOOLEAN: ("boolean", "sc:Boolean"),
}
"""What a column's type is called, in the data package and in schema.org."""

_FIXED: dict[str, dict[str, Any]] = msgspec.json.decode(
    resources.files("mirror.archive").joinpath("metadata.json").read_bytes()
)
"""What each says of the archive whatever is held; null is what depends on that. The context is that
of the specification, word for word: readers compare it."""


def render_datapackage(records: Iterable[Record]) -> bytes:
    """Return `datapackage.json`: each daily file a resource with its bytes and digest."""
    rows = sorted(records, key=lambda record: record.date)
    package = _FIXED["datapackage"] | {
        "version": _version(rows),
        "citation": _citation(rows),
        "launch_fields": [
            {"name": one.name, "type": _TYPES[one.type][0], "description": one.doc}
            for one in COLUMNS
        ],
        "resources": [
            {
                "name": record.name.removesuffix(".jsonl").lower(),
                "type": "file",
                "path": record.name,
                "scheme": "file",
                "format": "jsonl",
                "mediatype": "application/jsonl",
                "encoding": "utf-8",
                "bytes": record.size,
                "hash": f"sha256:{record.sha256}",
            }
            for record in rows
        ],
    }
    return msgspec.json.encode(package) + b"\n"


def render_croissant(records: Iterable[Record]) -> bytes:
    """Return `croissant.json`: each daily file with its digest, and the fields of their lines."""
    rows = sorted(records, key=lambda record: record.date)
    groups = _group_by_columns(rows)
    files: list[dict[str, Any]] = [
        {
            "@type": "cr:FileObject",
            "@id": record.name,
            "name": record.name,
            "contentUrl": record.name,
            "contentSize": f"{record.size} B",
            "encodingFormat": "application/jsonlines",
            "sha256": record.sha256,
        }
        for record in rows
    ]
    # sets are contained in nothing, so that they are read from the folder that this file lies in
    sets: list[dict[str, Any]] = [
        {
            "@type": "cr:FileSet",
            "@id": f"daily-files-v{version}",
            "name": f"daily-files-v{version}",
            "encodingFormat": "application/jsonlines",
            "includes": [record.name for record in group],
        }
        for version, group in groups.items()
    ]
    dataset = _FIXED["croissant"] | {
        "citeAs": _citation(rows),
        "version": _version(rows),
        "distribution": [*files, *sets],
    }
    if rows:
        dataset["datePublished"] = dataset["dateModified"] = rows[-1].date.isoformat()
    if groups:
        dataset["recordSet"] = [_record_set(version) for version in groups]
    return msgspec.json.encode(dataset) + b"\n"


def _record_set(version: int) -> dict[str, Any]:
    name = f"launches-v{version}"
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"A launch a line, of the days with the fields of version {version}.",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{one.name}",
                "name": one.name,
                "description": one.doc,
                "dataType": _TYPES[one.type][1],
                "source": {
                    "fileSet": {"@id": f"daily-files-v{version}"},
                    "extract": {"column": one.name},
                },
            }
            for one in COLUMNS
            if one.since <= version
        ],
    }


def _version(rows: Sequence[Record]) -> str:
    """Return the newest day as a version of three numbers; a later state has a later one."""
    return f"{rows[-1].date:%Y.%-m.%-d}" if rows else "0.0.0"


def _citation(rows: Sequence[Record]) -> str:
    """Return how to cite it, in BibTeX."""
    about = _FIXED["croissant"]
    year = f", year = {{{rows[-1].date.year}}}" if rows else ""
    span = f", note = {{{rows[0].date} to {rows[-1].date}}}" if rows else ""
    return (
        f"@misc{{{about['name']}, title = {{{_FIXED['datapackage']['title']}}}, "
        f"author = {{{{{about['publisher']['name']}}}}}, "
        f"howpublished = {{\\url{{{about['url']}}}}}{year}{span}}}"
    )


def _group_by_columns(rows: Iterable[Record]) -> dict[int, list[Record]]:
    """Return the days that have events by the columns that each of them has.

    These are those of the newest version in the day, here as the first version that has them.
    Readers go through file after file, and refuse a field that one of them has not.
    """
    groups: dict[int, list[Record]] = {}
    for record in rows:
        if record.lines:
            seen = record.findings.versions if record.findings else {}
            # where nothing is known of a day, it has what all have
            newest = max((one for one in FIELDS if str(one) in seen), default=min(FIELDS))
            first = next(one for one in FIELDS if FIELDS[one] == FIELDS[newest])
            groups.setdefault(first, []).append(record)
    return dict(sorted(groups.items()))

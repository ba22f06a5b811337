# SPDX-License-Identifier: GPL-3.0-or-later
"""What updraft.cloud.files does on the target: files first, then the units which run on them."""

from __future__ import annotations

from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils import files, units_run
from ansible_collections.updraft.cloud.plugins.module_utils.files_payload import Payload

TIMEOUT_SECONDS = 120


class ServiceError(Exception):
    """The files are written, and a unit is not as wanted. `result` tells what was written, and which units failed."""

    def __init__(self, text: str, result: dict[str, Any]) -> None:
        super().__init__(text)
        self.result = result


def carry_out(payload: Payload, *, check: bool, diff: bool) -> dict[str, Any]:
    """Make the machine hold the files, then bring the units to their state; with `check`, only tell.

    Raises FilesError or OSError before any unit was touched, ServiceError after.
    """
    written = files.reconcile(payload.entries, payload.validate, check=check, diff=diff)
    service = payload.service
    if not service.get("units"):
        return written
    try:
        ran = units_run.result_of(
            service["units"],
            timeout=service.get("timeout") or TIMEOUT_SECONDS,
            coming=[*(service.get("changed_paths") or ()), *written["changed_paths"]],
            check=check,
            diff=diff,
        )
    except ValueError as error:
        raise ServiceError(str(error), {**written, "failed_units": []}) from error
    except units_run.UnitsError as error:
        raise ServiceError(str(error), {**written, "failed_units": error.failed}) from error
    together = {**written, "changed": written["changed"] or ran["changed"], "units": ran["units"]}
    if diff and ran["diff"]["prepared"]:
        together["diff"] = [*written["diff"], ran["diff"]]
    return together

# SPDX-License-Identifier: GPL-3.0-or-later
"""The cloud's APIs as one thin client: JSON in and out, over keystoneauth's session (Debian's, on the target)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

DOMAIN = "Default"
#: Path of the version below what the catalogue names, and the microversion that is asked for.
PREFIXES = {"network": "/v2.0", "image": "/v2"}
MICROVERSIONS = {"compute": "2.88", "block-storage": "3.67"}


class ApiError(RuntimeError):
    """An API refused; the text says what was asked and what it answered."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class AbsentError(ApiError):
    """Nobody answers there, or what it takes to ask is not installed."""


class Api:
    """A logged-in connection to all services of a cloud."""

    def __init__(self, url: str, user: str, password: str, project: str, region: str = "RegionOne") -> None:
        """Log in. Raises AbsentError when nobody answers, ApiError when the login is refused."""
        try:
            from keystoneauth1 import exceptions, session
            from keystoneauth1.identity import v3
        except ImportError as error:
            raise AbsentError("python3-openstacksdk is not installed") from error
        auth = v3.Password(
            auth_url=url,
            username=user,
            password=password,
            user_domain_name=DOMAIN,
            project_name=project,
            project_domain_name=DOMAIN,
        )
        self._errors = exceptions
        self._region = region
        self._session = session.Session(auth=auth)
        try:
            self._session.get_token()
            self.project_id = str(self._session.get_project_id())
            self.roles = sorted(str(name) for name in auth.get_access(self._session).role_names)
        except (exceptions.ConnectFailure, exceptions.ServiceUnavailable, exceptions.BadGateway) as error:
            raise AbsentError(f"{url} does not answer: {error}") from error
        except exceptions.HttpError as error:
            raise ApiError(f"{url} refuses {user}: {error.message}", error.http_status) from error
        except exceptions.ClientException as error:
            raise AbsentError(f"{url}: {error}") from error

    def _request(self, method: str, service: str, path: str, **more: Any) -> Any:
        filters = {"service_type": service, "interface": "public", "region_name": self._region}
        headers = dict(more.pop("headers", {}))
        if service in MICROVERSIONS:
            name = "volume" if service == "block-storage" else service
            headers["OpenStack-API-Version"] = f"{name} {MICROVERSIONS[service]}"
        try:
            base = self._session.get_endpoint(**filters)
            if base is None:
                raise AbsentError(f"the catalogue has no service {service}")
            url = f"{base.rstrip('/')}{PREFIXES.get(service, '')}{path}"
            return self._session.request(url, method, headers=headers, connect_retries=2, **more)
        except (self._errors.ConnectFailure, self._errors.ServiceUnavailable, self._errors.BadGateway) as error:
            raise AbsentError(f"the service {service} does not answer: {error}") from error
        except self._errors.HttpError as error:
            raise ApiError(f"{method} {service} {path}: {error.message}", error.http_status) from error
        except self._errors.ClientException as error:
            raise ApiError(f"{method} {service} {path}: {error}") from error

    def get(self, service: str, path: str) -> Any:
        """Return the answer's JSON."""
        return self._request("GET", service, path).json()

    def post(self, service: str, path: str, body: Mapping[str, Any]) -> Any:
        """Send a body and return the answer's JSON, None if it is empty."""
        answer = self._request("POST", service, path, json=body)
        return answer.json() if answer.content else None

    def put(self, service: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a body and return the answer's JSON, None if it is empty."""
        answer = self._request("PUT", service, path, **({"json": body} if body is not None else {}))
        return answer.json() if answer.content else None

    def patch(self, service: str, path: str, body: Any, content_type: str = "application/json") -> Any:
        """Send changes and return the answer's JSON."""
        return self._request("PATCH", service, path, json=body, headers={"Content-Type": content_type}).json()

    def delete(self, service: str, path: str) -> None:
        """Remove; one that is gone already is fine."""
        try:
            self._request("DELETE", service, path)
        except ApiError as error:
            if error.status != 404:
                raise

    def upload(self, image: str, data: IO[bytes]) -> None:
        """Send the data of an image."""
        headers = {"Content-Type": "application/octet-stream"}
        self._request("PUT", "image", f"/images/{image}/file", data=data, headers=headers)


def password_works(url: str, user: str, password: str, project: str) -> bool:
    """Say whether this login is accepted."""
    try:
        Api(url, user, password, project)
    except AbsentError:
        raise
    except ApiError as error:
        if error.status == 401:
            return False
        raise
    return True

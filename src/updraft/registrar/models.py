# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables. Times are milliseconds since 1970 (UTC), so that both databases calculate with them alike."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

#: Codes, names and hashes compare byte by byte on MariaDB, too.
Exact = String(255).with_variant(
    mysql.VARCHAR(255, charset="ascii", collation="ascii_bin"),  # type: ignore[no-untyped-call]
    "mysql",
    "mariadb",
)
Long = Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")  # type: ignore[no-untyped-call]

TABLE = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mariadb_engine": "InnoDB"}


class Base(DeclarativeBase):
    """All tables."""


class Meta(Base):
    """Single values: the version of the tables, until when the registrar listened. The row `lock` orders writers."""

    __tablename__ = "meta"
    __table_args__ = TABLE
    name: Mapped[str] = mapped_column(Exact, primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger, default=0)


class Host(Base):
    """A machine with a host key. One that only waits (`seen`) has a row for each key it shows."""

    __tablename__ = "hosts"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    #: SHA-256 of boot MAC, uuid, serial and host key: registering twice makes one row.
    claim: Mapped[str] = mapped_column(Exact, unique=True)
    state: Mapped[str] = mapped_column(Exact)
    code: Mapped[str] = mapped_column(Exact, index=True)
    host_key: Mapped[str] = mapped_column(Exact, index=True)
    #: The name it has or had; `taken` is the same while it is trusted, and no two of those are equal.
    name: Mapped[str | None] = mapped_column(Exact, index=True)
    taken: Mapped[str | None] = mapped_column(Exact, unique=True)
    pool: Mapped[str | None] = mapped_column(Exact)
    roles: Mapped[str] = mapped_column(Text, default="[]")
    #: The trusted host which this waiting row says it is, come back without a token.
    returns_as: Mapped[int | None] = mapped_column(Integer)
    address: Mapped[str] = mapped_column(Exact, index=True)
    mac: Mapped[str] = mapped_column(Exact)
    macs: Mapped[str] = mapped_column(Text)
    serial: Mapped[str] = mapped_column(String(128))
    uuid: Mapped[str] = mapped_column(Exact)
    machine_id: Mapped[str] = mapped_column(Exact)
    firmware: Mapped[str] = mapped_column(Exact)
    image: Mapped[str] = mapped_column(String(128))
    hardware: Mapped[str] = mapped_column(Long)
    progress: Mapped[str | None] = mapped_column(Text)
    first_seen: Mapped[int] = mapped_column(BigInteger)
    last_seen: Mapped[int] = mapped_column(BigInteger)
    #: last_seen, moved on by the times in which the registrar itself did not listen: silence counts from here.
    silent_from: Mapped[int] = mapped_column(BigInteger)
    __table_args__ = (Index("hosts_state", "state", "silent_from"), TABLE)


class HostMac(Base):
    """Which machine has which MAC, to find those that share one."""

    __tablename__ = "host_macs"
    host_id: Mapped[int] = mapped_column(ForeignKey("hosts.id", ondelete="CASCADE"), primary_key=True)
    mac: Mapped[str] = mapped_column(Exact, primary_key=True, index=True)
    __table_args__ = TABLE


class Conversation(Base):
    """A handle (hashed) that a machine was given. It tells the state and nothing else."""

    __tablename__ = "conversations"
    handle: Mapped[str] = mapped_column(Exact, primary_key=True)
    host_id: Mapped[int] = mapped_column(ForeignKey("hosts.id", ondelete="CASCADE"), index=True)
    created: Mapped[int] = mapped_column(BigInteger)
    __table_args__ = TABLE


class Token(Base):
    """A one-time boot token (hashed) and what it is bound to."""

    __tablename__ = "tokens"
    token: Mapped[str] = mapped_column(Exact, primary_key=True)
    host_id: Mapped[int] = mapped_column(ForeignKey("hosts.id", ondelete="CASCADE"), index=True)
    mac: Mapped[str] = mapped_column(Exact)
    uuid: Mapped[str] = mapped_column(Exact)
    serial: Mapped[str] = mapped_column(String(128))
    issued: Mapped[int] = mapped_column(BigInteger)
    expires: Mapped[int] = mapped_column(BigInteger)
    used: Mapped[int | None] = mapped_column(BigInteger)
    #: The host key that it pinned: the same machine may repeat itself when an answer was lost.
    used_key: Mapped[str | None] = mapped_column(Exact)
    __table_args__ = TABLE


class Alarm(Base):
    """Something refused that a person should know of. The same again counts up."""

    __tablename__ = "alarms"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(Exact)
    subject: Mapped[str] = mapped_column(Exact)
    address: Mapped[str] = mapped_column(Exact)
    host_id: Mapped[int | None] = mapped_column(ForeignKey("hosts.id", ondelete="CASCADE"), index=True)
    message: Mapped[str] = mapped_column(Text)
    count: Mapped[int] = mapped_column(Integer, default=1)
    first: Mapped[int] = mapped_column(BigInteger)
    last: Mapped[int] = mapped_column(BigInteger)
    acknowledged: Mapped[int | None] = mapped_column(BigInteger)
    __table_args__ = (UniqueConstraint("kind", "subject", "address", name="alarms_same"), TABLE)

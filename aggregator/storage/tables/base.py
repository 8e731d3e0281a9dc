"""What every table has in common."""

from __future__ import annotations

from sqlalchemy import BigInteger, LargeBinary, MetaData, String
from sqlalchemy.orm import DeclarativeBase

DIGEST = String(64)
NAME = String(64)


class Table(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {int: BigInteger, bytes: LargeBinary}  # noqa: RUF012 - SQLAlchemy reads a plain dict

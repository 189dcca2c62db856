"""What answers of a node are made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from keyquorum_sol.limits import U64_MAX

U64 = Annotated[int, Field(ge=0, le=U64_MAX)]
Base58 = Annotated[str, Field(pattern=r"^[1-9A-HJ-NP-Za-km-z]{1,88}$")]


class Shape(BaseModel):
    """An object of an answer: strictly typed, members that nobody asked for ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, hide_input_in_errors=True)

"""What every mapping of ``appliance.yml`` is."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """What every mapping of the file has in common: strict, closed, immutable."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True
    )

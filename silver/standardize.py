"""Standardize product, state, ZIP code, channel, tags and company response with conf/taxonomy.yaml.

Reads the struct ``raw`` of a parsed complaint; adds the standard columns. One row in, one row out.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from lakehouse.rules.files import Rule, RuleFile, read_rules
from lakehouse.settings import CONF
from lakehouse.step import Step

RESPONSE_CLASSES = (
    "explanation",
    "monetary_relief",
    "non_monetary_relief",
    "relief",
    "no_relief",
    "closed",
    "untimely",
    "in_progress",
)
# States whose ZIP codes begin with 0. Source: USPS Publication 65, three-digit ZIP code prefixes 005 to 099.
ZERO_STATES = ("AE", "CT", "MA", "ME", "NH", "NJ", "NY", "PR", "RI", "VI", "VT")
_ZIP = r"^([0-9]{5}|[0-9]{3}[xX*]{2}|[xX*]{5})(-|[- ]?[0-9]{4}|\.0*)?$"
_ZIP_WITHOUT_ZEROS = r"^[0-9]{3,4}(\.0*)?$"
PUNCTUATION = ".,"  # left out of a state
SEPARATOR = " > "  # between a product and its sub-product; no label contains it


class Product(Rule):
    """One label of the product field, with its family."""

    id: str = Field(alias="label")
    family: str
    sub_products: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Taxonomy:
    """Known values in lower case, each mapped to its standard value.

    Attributes:
        families: product families; the last is for unknown products.
        products: label, or label > sub-product where the sub-product decides, to family.
        states: code or name, as spelled by `_spelled`, to code.
        channels: spelling to channel.
        responses: company response to response class.
    """

    families: tuple[str, ...]
    products: Mapping[str, str]
    states: Mapping[str, str]
    channels: Mapping[str, str]
    responses: Mapping[str, str]


def load_taxonomy(path: Path = CONF / "taxonomy.yaml") -> Taxonomy:
    """Load and check the taxonomy.

    Raises:
        ComplaintsError: if a key, family or response class is unknown or given twice; names file and line.
    """
    file = read_rules(path)
    file.only("families", "products", "states", "channels", "responses")
    families = tuple(file.section("families", list))
    channels, states = file.section("channels", dict), file.section("states", dict)
    responses = file.section("responses", dict)
    for response, name in responses.items():
        if name not in RESPONSE_CLASSES:
            known = f"is '{name}', but the classes are {', '.join(RESPONSE_CLASSES)}"
            file.refuse(known, line=responses.lines[response], key=response)
    return Taxonomy(
        families=families,
        products=dict(_families_by_label(file, families)),
        states={_spelled(s): code for code, names in states.items() for s in (code, *_listed(names))},
        channels={s.lower(): channel for channel, others in channels.items() for s in (channel, *others)},
        responses={response.lower(): name for response, name in responses.items()},
    )


def _listed(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else names


def _spelled(state: str) -> str:
    """A state as it is looked up: in lower case, without punctuation, with single spaces."""
    return " ".join(state.lower().translate(str.maketrans("", "", PUNCTUATION)).split())


def _families_by_label(file: RuleFile, families: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for entry, product in file.rules("products", Product):
        for family in (product.family, *product.sub_products.values()):
            if family not in families:
                file.refuse(f"there is no family '{family}'", line=entry.line, rule=product.id)
        yield product.id.lower(), product.family
        for sub_product, family in product.sub_products.items():
            yield f"{product.id}{SEPARATOR}{sub_product}".lower(), family


def standardized(taxonomy: Taxonomy) -> Step:
    """Return the step that adds the standard columns to parsed complaints.

    Returns:
        A step over frames with the struct ``raw``. It adds product, product_known (false for an unknown label, null
        without one), product_family, state, zip_code, zip3, submitted_via, tags, is_servicemember, is_older_american
        and response_class. An unknown product keeps its label and gets the last family; an unknown state, channel or
        response and a malformed ZIP code become null. A ZIP code that a table stored as a number (``2134`` or
        ``2134.0``) gets its leading zeros again where the state has such codes.
    """
    products = _lookup(taxonomy.products)
    label, sub_product = F.lower("raw.product"), F.lower("raw.sub_product")
    tags = F.lower("raw.tags")
    spelled = F.regexp_replace(F.translate(F.lower("raw.state"), PUNCTUATION, ""), r"\s+", " ")
    state = _lookup(taxonomy.states)[spelled]
    # Without what makes a spreadsheet take it for text: '02139 or ="02139".
    zip_code = F.regexp_replace("raw.zip_code", r"""^=?["']|["']$""", "")

    def with_standard_values(parsed: DataFrame) -> DataFrame:
        return parsed.withColumns(
            {
                "product": F.col("raw.product"),
                "product_known": F.when(label.isNotNull(), products[label].isNotNull()),
                "product_family": F.coalesce(
                    products[F.concat(label, F.lit(SEPARATOR), sub_product)],
                    products[label],
                    F.lit(taxonomy.families[-1]),
                ),
                "state": state,
                "zip_code": F.when(zip_code.rlike(_ZIP), F.translate(F.substring(zip_code, 1, 5), "x*", "XX")).when(
                    zip_code.rlike(_ZIP_WITHOUT_ZEROS) & state.isin(*ZERO_STATES),
                    F.lpad(F.substring_index(zip_code, ".", 1), 5, "0"),
                ),
                "submitted_via": _lookup(taxonomy.channels)[F.lower("raw.submitted_via")],
                "tags": F.col("raw.tags"),
                "is_servicemember": F.coalesce(F.contains(tags, F.lit("servicemember")), F.lit(col=False)),
                "is_older_american": F.coalesce(F.contains(tags, F.lit("older american")), F.lit(col=False)),
                "response_class": _lookup(taxonomy.responses)[F.lower("raw.company_response")],
            }
        ).withColumn("zip3", F.when(F.col("zip_code") != "XXXXX", F.substring("zip_code", 1, 3)))

    return with_standard_values


def _lookup(values: Mapping[str, str]) -> Column:
    """A map as one expression that Spark folds to a literal; a hundred literals would slow every plan."""
    return F.from_json(F.lit(json.dumps(dict(values))), "map<string,string>")

"""The 18 fields of a CFPB complaint, declared once: name, type, when it is known, aliases, meaning.

Sources: the CFPB's field reference for the public Consumer Complaint Database (18 columns until June 2026, 16 until
September 2026, 15 since), the keys of its search API, saved exports, and public copies: BigQuery's table of the
database, and data sets on Hugging Face.
"""

import re
from dataclasses import dataclass
from typing import Literal

Known = Literal["intake", "outcome"]

# Texts that mean "no value" when they are a field's whole value, in lower case, as these tools write them. They mean it
# in all 18 fields: none is a state, channel, product or response of the CFPB, and a narrative with nothing else, or a
# company so named, says nothing. Within a longer text ("None.", "BANK, N.A.") they mean nothing special.
MISSING = (
    *("", "-", "--", "n/a", "none"),  # by hand, Python; "N/A" also in the CFPB's own exports
    *("nan", "-nan", "nat", "<na>", "null", "undefined"),  # pandas, JavaScript
    *("na", "."),  # R, SAS and Stata
    *("#n/a", "#n/a n/a", "#na", "#null!"),  # Excel
    *("\\n", "(null)"),  # MySQL, PostgreSQL and Hive; Oracle
)


@dataclass(frozen=True)
class Field:
    """One field of a complaint.

    Attributes:
        name: the column in silver.
        display: the column's title in the CFPB's export.
        type: SQL type in silver.
        known: whether it is known at intake or only with the outcome.
        aliases: other names in existing layouts; case, spaces and punctuation never matter.
        meaning: description for the data dictionary.
    """

    name: str
    display: str
    type: str
    known: Known
    meaning: str
    aliases: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The normalized names under which the field may arrive, most common first."""
        return tuple(dict.fromkeys(normalized(name) for name in (self.display, self.name, *self.aliases)))


def normalized(name: str) -> str:
    """Normalize a column title for comparison: lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


FIELDS: tuple[Field, ...] = (
    Field("complaint_id", "Complaint ID", "bigint", "intake", "The CFPB's number of the complaint; unique."),
    Field("date_received", "Date received", "date", "intake", "Day the CFPB received the complaint."),
    Field("product", "Product", "string", "intake", "Type of product the consumer named, in the words of its time."),
    Field("sub_product", "Sub-product", "string", "intake", "Type of sub-product, if the product has any."),
    Field("issue", "Issue", "string", "intake", "The issue the consumer named."),
    Field("sub_issue", "Sub-issue", "string", "intake", "The sub-issue, if the issue has any."),
    Field(
        "narrative",
        "Consumer complaint narrative",
        "string",
        "intake",
        "What happened, in the consumer's words, scrubbed by the CFPB (XXXX, {$100.00}); published only with consent.",
        ("complaint_what_happened", "narrative", "Complaint text", "Complaint"),
    ),
    Field("company", "Company", "string", "intake", "The company the complaint is about.", ("Company name",)),
    Field("state", "State", "string", "intake", "The consumer's state or territory, two letters."),
    Field("zip_code", "ZIP code", "string", "intake", "The consumer's ZIP code as published: 33009, 705XX or XXXXX."),
    Field("tags", "Tags", "string", "intake", "Older American (62 and over), Servicemember, or both; self-declared."),
    Field(
        "consumer_consent",
        "Consumer consent provided?",
        "string",
        "intake",
        "Whether the consumer agreed to publish the narrative.",
        ("consumer_consent_provided",),
    ),
    Field("submitted_via", "Submitted via", "string", "intake", "How the complaint reached the CFPB."),
    Field(
        "date_sent_to_company",
        "Date sent to company",
        "date",
        "outcome",
        "Day the CFPB sent the complaint to the company.",
    ),
    Field(
        "company_response",
        "Company response to consumer",
        "string",
        "outcome",
        "How the company closed the complaint; 'In progress' is not an outcome yet.",
        ("company_response", "Company response"),
    ),
    Field(
        "company_public_response",
        "Company public response",
        "string",
        "outcome",
        "The company's optional public answer.",
    ),
    Field(
        "timely_response",
        "Timely response?",
        "boolean",
        "outcome",
        "Whether the company answered in time.",
        ("timely",),
    ),
    Field(
        "consumer_disputed",
        "Consumer disputed?",
        "boolean",
        "outcome",
        "Whether the consumer disputed the answer; asked until April 2017.",
        ("disputed",),
    ),
)

BY_NAME = {field.name: field for field in FIELDS}
INTAKE = tuple(field for field in FIELDS if field.known == "intake")
OUTCOME = tuple(field for field in FIELDS if field.known == "outcome")
KNOWN_KEYS = frozenset(key for field in FIELDS for key in field.keys)  # a file of complaints names one of them

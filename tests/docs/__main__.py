"""`python -m tests.docs`: write the tables of all pages anew from the code."""

import re

from tests.docs.markdown import TABLE, pages
from tests.docs.tables import TABLES


def _fresh(match: re.Match[str]) -> str:
    return f"<!-- table: {match[1]} -->\n{TABLES[match[1]]()}<!-- end -->"


for page in pages():
    text = TABLE.sub(_fresh, page.text)
    if text != page.text:
        page.path.write_text(text, "utf-8")
        print(f"{page.name}: written")
